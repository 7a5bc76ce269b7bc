// Any bytes as a server's answer, good or bad: errors are always read to something short that can be printed, XML is refused with a
// kiln::Error or becomes Json that can be walked.
#include <cstdint>
#include <cstdlib>

#include "aws/client.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  const std::string body(reinterpret_cast<const char*>(data), size);
  for (const int status : {400, 500}) {
    const aws::ErrorAnswer error = aws::read_error({status, {{"x-amzn-errortype", body.substr(0, 40)}}, body});
    // A byte that is no UTF-8 becomes three.
    if (error.code.size() > 300 || error.message.size() > 3 * 4100) std::abort();
    kiln::Json({error.code, error.message, error.request_id}).dump();
    for (const unsigned char letter : error.code + error.message) {
      if (letter < 0x20) std::abort();
    }
  }
  try {
    const Json answer = aws::xml_to_json(body);
    for (const Json& item : aws::list(answer, "reservationSet")) aws::tag(item, "Name");
    aws::integer(answer, "a/0/b");
    answer.dump();
  } catch (const Error&) {
  }
  aws::parse_http_time(body);
  aws::parse_iso_time(body);
  aws::parse_url(body);
  return 0;
}

// Fuzzes what a stranger's bytes meet first: frames, the handshake on either side, then events (libFuzzer; -DKILN_FUZZ=ON).
#include <cstddef>
#include <cstdint>

#include "base/activity.h"
#include "base/channel.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  if (size == 0) return 0;
  Handshake handshake(data[0] % 2 == 0 ? Handshake::Side::kServer : Handshake::Side::kClient, "secret");
  FrameReader reader(Channel::kMaxFrameBytes);
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  // In pieces: where they break must not matter.
  const std::size_t piece = 1 + data[0] / 2;
  try {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
      reader.feed(bytes.substr(0, piece));
      while (const auto frame = reader.next()) {
        try {
          if (handshake.done()) break;
          handshake.step(*frame);
        } catch (const Error&) {
        }
        try {
          (void)Event::from_json(frame->json()).to_json();
        } catch (const Error&) {
        }
      }
    }
  } catch (const Error&) {
  }
  return 0;
}

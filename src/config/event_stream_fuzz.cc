// Any bytes as what a peer sends on a channel: cut into frames, their JSON read as events. The launcher reads this from nodes on
// which users' programs run.
#include <cstdint>
#include <cstdlib>

#include "base/activity.h"
#include "base/channel.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto read_event = [](const kiln::Frame& frame) {
    try {
      const kiln::Json json = kiln::Event::from_json(frame.json()).to_json();
      if (kiln::Event::from_json(json).to_json() != json) std::abort();
    } catch (const kiln::Error&) {
    }
  };
  // As one frame's payload, so that the fuzzer need not find out about lengths before it gets to the JSON …
  read_event(kiln::Frame{'J', bytes});
  // … and as a stream that arrives in two pieces.
  try {
    kiln::FrameReader reader(64 << 10);
    reader.feed(std::string_view(bytes).substr(0, size / 2));
    while (const auto frame = reader.next()) read_event(*frame);
    reader.feed(std::string_view(bytes).substr(size / 2));
    while (const auto frame = reader.next()) read_event(*frame);
  } catch (const kiln::Error&) {
  }
  return 0;
}

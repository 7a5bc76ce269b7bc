// Any text as AWS's configuration files: refused with a kiln::Error that shows no line of it, or read. What it says is looked up as a
// session would, in both files' places.
#include <cstdint>
#include <cstdlib>

#include "aws/profiles.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const aws::Profiles profiles("config", text, "credentials", text);
    for (const auto& name : profiles.names()) {
      if (!profiles.has(name)) std::abort();
      for (const char* setting : {"region", "credential_process", "source_profile", "sso_session", "services"}) {
        const auto value = profiles.value(name, setting);
        if (value && value->empty()) std::abort();
        if (value) aws::split_words(*value);
        if (value) profiles.service_value(*value, "ec2", "endpoint_url");
      }
    }
  } catch (const Error& error) {
    if (error.message().find(':') == std::string::npos) std::abort();
  }
  return 0;
}

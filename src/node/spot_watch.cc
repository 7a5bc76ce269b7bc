#include "node/spot_watch.h"

#include <ctime>

#include "base/json.h"
#include "base/strings.h"

namespace kiln::node {

namespace {
// On the machine's own host: what takes 2 s hangs.
constexpr std::chrono::milliseconds kTimeout{2000};
// The longest that EC2 gives; a 401 before that gets a new one.
constexpr const char* kTokenSeconds = "21600";
constexpr std::size_t kMaxBytes = 4096;
}  // namespace

std::optional<SpotNotice> parse_spot_notice(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {};
  const auto action = json.find("action"), time = json.find("time");
  if (action == json.end() || !action->is_string() || time == json.end() || !time->is_string()) return {};
  std::tm moment{};
  const std::string written = time->get<std::string>();
  const char* end = ::strptime(written.c_str(), "%Y-%m-%dT%H:%M:%SZ", &moment);
  if (end == nullptr || *end != '\0') return {};
  return SpotNotice{action->get<std::string>(), ::timegm(&moment)};
}

SpotWatch::SpotWatch(Loop& loop, std::string service, std::function<void(const SpotNotice&)> on_notice, std::chrono::milliseconds pause)
    : loop_(loop), service_(std::move(service)), on_notice_(std::move(on_notice)), pause_(pause) {
  ask_token();
}

SpotWatch::~SpotWatch() { loop_.cancel(timer_); }

void SpotWatch::ask_token() {
  exchange_ = std::make_unique<HttpExchange>(
      loop_, HttpRequest{"PUT", service_ + "/latest/api/token", {{"X-aws-ec2-metadata-token-ttl-seconds", kTokenSeconds}}, kMaxBytes},
      kTimeout, [this](const HttpAnswer* answer, const std::string&) {
        const std::string token = answer != nullptr && answer->status == 200 ? std::string(trim(answer->body)) : std::string();
        if (token.empty() || token.find_first_of("\r\n") != std::string::npos) return again();
        token_ = token;
        ask_notice();
      });
}

void SpotWatch::ask_notice() {
  exchange_ = std::make_unique<HttpExchange>(
      loop_, HttpRequest{"GET", service_ + "/latest/meta-data/spot/instance-action", {{"X-aws-ec2-metadata-token", token_}}, kMaxBytes},
      kTimeout, [this](const HttpAnswer* answer, const std::string&) {
        if (answer == nullptr) return again();
        take(*answer);
      });
}

void SpotWatch::take(const HttpAnswer& answer) {
  if (answer.status == 401) token_.clear();
  const auto notice = answer.status == 200 ? parse_spot_notice(answer.body) : std::nullopt;
  if (!notice) return again();
  const auto on_notice = on_notice_;  // it may destroy us
  on_notice(*notice);
}

void SpotWatch::again() {
  timer_ = loop_.after(pause_, [this] {
    timer_ = 0;
    token_.empty() ? ask_token() : ask_notice();
  });
}

}  // namespace kiln::node

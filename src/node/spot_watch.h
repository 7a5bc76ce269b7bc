// What EC2 tells a spot instance before it takes it back: /latest/meta-data/spot/instance-action, asked every 5 s by IMDSv2, as the EC2
// User Guide advises ("Spot Instance interruption notices"): the notice comes two minutes before. It is 404 as long as there is none.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "node/http_exchange.h"

namespace kiln::node {

struct SpotNotice {
  std::string action;     // terminate, stop or hibernate
  std::int64_t time = 0;  // when; seconds since 1970
  bool operator==(const SpotNotice&) const = default;
};

// {"action": "terminate", "time": "2026-01-01T08:22:00Z"}; nothing for what is none.
std::optional<SpotNotice> parse_spot_notice(const std::string& text);

class SpotWatch {
 public:
  // `service`: the metadata service's URL. on_notice is called once. A service that does not answer is asked again.
  SpotWatch(Loop& loop, std::string service, std::function<void(const SpotNotice&)> on_notice,
            std::chrono::milliseconds pause = std::chrono::seconds(5));
  ~SpotWatch();

 private:
  void ask_token();
  void ask_notice();
  void take(const HttpAnswer& answer);
  void again();

  Loop& loop_;
  std::string service_, token_;
  std::function<void(const SpotNotice&)> on_notice_;
  std::chrono::milliseconds pause_;
  std::unique_ptr<HttpExchange> exchange_;
  Loop::TimerId timer_ = 0;
};

}  // namespace kiln::node

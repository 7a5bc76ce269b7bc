// One HTTP request and its answer within the agent's loop: what it asks while services run, and must not wait for.
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "node/http_client.h"
#include "node/loop.h"

namespace kiln::node {

class HttpExchange {
 public:
  // Called once, in the loop, unless the exchange is destroyed before: with the answer, or with nothing and why there is none. It may
  // destroy the exchange.
  using Done = std::function<void(const HttpAnswer* answer, const std::string& why)>;

  // As ask_http: http:// and IPv4 addresses only. Error for a URL that makes no sense.
  HttpExchange(Loop& loop, HttpRequest request, std::chrono::milliseconds timeout, Done done);
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

 private:
  void send();
  void receive();
  void finish(const HttpAnswer* answer, const std::string& why);

  Loop& loop_;
  Done done_;
  Fd socket_;
  Loop::TimerId timer_ = 0;
  std::size_t max_body_bytes_;
  std::string out_, in_;
};

}  // namespace kiln::node

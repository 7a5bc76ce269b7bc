#include "node/relay.h"

#include "base/error.h"
#include "node/readiness.h"

namespace kiln::node {

std::weak_ptr<Connection> relay(Loop& loop, std::shared_ptr<Connection> client, const std::string& address, int port,
                                const std::string& secret, const Json& request, const std::string& what) {
  Fd socket = start_connect(address, port);
  if (!socket) fail("cannot reach {} at {}:{}", what, address, port);
  const auto upstream = Connection::make(loop, std::move(socket), Handshake(Handshake::Side::kClient, secret));
  // What the client sends before the way is open waits in its connection.
  client->pause_reading(true);
  // Each side is read only as long as the other can take it.
  const auto pass = [](const std::shared_ptr<Connection>& from, const std::shared_ptr<Connection>& to, const Frame& frame) {
    to->send(frame.type, frame.payload);
    if (to->is_full()) from->pause_reading(true);
  };
  client->set_handlers({nullptr, [client, upstream, pass](const Frame& frame) { pass(client, upstream, frame); },
                        [upstream](const std::string&) { upstream->close(); }, [upstream] { upstream->pause_reading(false); }});
  // Answers end with a message of their own (docs/channel.md).
  const auto whole = std::make_shared<bool>(false);
  upstream->start({[client, upstream, request] {
                     upstream->send(request);
                     client->pause_reading(false);
                   },
                   [client, upstream, pass, whole](const Frame& frame) {
                     *whole = frame.type == 'J';
                     pass(upstream, client, frame);
                   },
                   [client, upstream, what, whole](const std::string& why) {
                     if (client->is_closed()) return;
                     if (*whole) {
                       client->close_after_sending();
                     } else {
                       client->send_error(fmt::format("{} {}: {}", upstream->was_open() ? "lost" : "cannot reach", what, why));
                     }
                   },
                   [client] { client->pause_reading(false); }});
  return upstream;
}

}  // namespace kiln::node

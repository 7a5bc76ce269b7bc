// Answers in every framing that servers use, in every piece that a network may make of them.
#include "node/http_client.h"

#include <gtest/gtest.h>

namespace kiln::node {
namespace {

constexpr std::size_t kLimit = 100;

// The answer, which must not be there a byte earlier: all prefixes are "more to come".
HttpAnswer read_whole(const std::string& bytes, bool ends_with_connection = false) {
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(parse_http_answer(bytes.substr(0, size), false, kLimit)) << "after " << size << " bytes";
  const auto answer = parse_http_answer(bytes, ends_with_connection, kLimit);
  EXPECT_TRUE(answer);
  return answer.value_or(HttpAnswer{});
}

TEST(HttpClient, reads_a_body_by_its_length) {
  const auto answer = read_whole("HTTP/1.1 200 OK\r\nServer: EC2ws\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("server"), "EC2ws");
  EXPECT_EQ(answer.body, "hello");
}

TEST(HttpClient, reads_chunks) {
  EXPECT_EQ(read_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=1\r\nhello\r\nA\r\n, 10 bytes\r\n0\r\n").body,
            "hello, 10 bytes");
}

TEST(HttpClient, reads_to_the_end_of_the_connection) {
  EXPECT_EQ(read_whole("HTTP/1.0 404 Not Found\r\nmetadata-flavor:Google\r\n\r\nno", true).status, 404);
}

TEST(HttpClient, no_http_is_no_answer) {
  for (const std::string bytes :
       {"SSH-2.0-OpenSSH_9.2\r\n", "<html>", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 xyz OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    SCOPED_TRACE(bytes);
    EXPECT_THROW(parse_http_answer(bytes, true, kLimit), NoAnswer);
  }
}

TEST(HttpClient, a_connection_that_ends_early_is_no_answer) {
  for (const std::string bytes : {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
                                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"}) {
    SCOPED_TRACE(bytes);
    EXPECT_THROW(parse_http_answer(bytes, true, kLimit), NoAnswer);
  }
}

TEST(HttpClient, a_body_beyond_the_limit_is_an_error_before_it_has_come) {
  const std::string much(kLimit + 1, 'x');
  for (const std::string& bytes :
       {std::string("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"), "HTTP/1.1 200 OK\r\n\r\n" + much,
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n32\r\n" + std::string(50, 'x') + "\r\n33\r\n"}) {
    try {
      parse_http_answer(bytes, false, kLimit);
      ADD_FAILURE() << "was accepted";
    } catch (const NoAnswer& error) {
      ADD_FAILURE() << "would be tried again: " << error.what();
    } catch (const Error& error) {
      EXPECT_EQ(error.message(), "the answer is larger than 100 bytes");
    }
  }
}

}  // namespace
}  // namespace kiln::node

// User data in the forms that people and clouds give it. The service itself is asked by tests/41-document-sources.test.
#include "node/metadata.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/strings.h"

namespace kiln::node {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

std::string refusal(const std::string& data, bool allow_base64 = false) {
  try {
    unpack_user_data(data, allow_base64);
    return "nothing";
  } catch (const Error& error) {
    return std::string(error.what()) + " | " + error.hint_text();
  }
}

TEST(UserData, comes_plain_or_packed) {
  const std::string document = "{\"kiln\": 1}";
  EXPECT_EQ(unpack_user_data(document, false), document);
  EXPECT_EQ(unpack_user_data(gzip(document), false), document);
  EXPECT_EQ(unpack_user_data(gzip(document), true), document);
  EXPECT_EQ(unpack_user_data(to_base64(gzip(document)), true), document);
  EXPECT_EQ(unpack_user_data(to_base64(document) + "\n", true), document);
}

TEST(UserData, of_a_large_cluster_fits_when_packed) {
  std::string document = "{\"kiln\": 1, \"nodes\": [";
  for (int i = 0; i < 1000; ++i)
    document += fmt::format("{{\"name\":\"worker-{}\",\"role\":\"worker\",\"address\":\"10.0.{}.{}\"}},", i, i / 250, i % 250);
  EXPECT_LT(gzip(document).size(), 16384u);
  EXPECT_EQ(unpack_user_data(gzip(document), false), document);
}

TEST(UserData, that_is_something_else_is_told_by_kind_and_not_shown) {
  EXPECT_NE(refusal("#cloud-config\npassword: hunter2").find("a cloud-init configuration"), std::string::npos);
  EXPECT_NE(refusal("#!/bin/sh\necho hunter2").find("a script"), std::string::npos);
  EXPECT_NE(refusal("Content-Type: multipart/mixed; hunter2").find("a MIME message"), std::string::npos);
  EXPECT_NE(refusal("hunter2").find("something else"), std::string::npos);
  EXPECT_NE(refusal(to_base64("{\"secret\": \"hunter2\"}")).find("encode it once, not twice"), std::string::npos);
  for (const std::string data : {"#cloud-config\npassword: hunter2", "#!/bin/sh\necho hunter2", "hunter2"})
    EXPECT_EQ(refusal(data).find("hunter2"), std::string::npos) << refusal(data);
}

TEST(UserData, broken_or_bottomless_gzip_is_an_error) {
  const std::string packed = gzip(std::string(5000, 'x'));
  EXPECT_NE(refusal(packed.substr(0, packed.size() / 2)).find("broken gzip"), std::string::npos);
  std::string changed = packed;
  changed[packed.size() - 6] = static_cast<char>(changed[packed.size() - 6] ^ 1);  // in its checksum
  EXPECT_NE(refusal(changed).find("broken gzip"), std::string::npos);
  EXPECT_NE(refusal("\x1f\x8b").find("broken gzip"), std::string::npos);
  // 64 MiB in 64 KiB.
  EXPECT_NE(refusal(gzip(std::string(64 << 20, ' '))).find("larger than"), std::string::npos);
}

}  // namespace
}  // namespace kiln::node

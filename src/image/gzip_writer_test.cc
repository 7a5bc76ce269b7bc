#include "image/gzip_writer.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>

namespace kiln::image {
namespace {

std::string gzip(const std::string& text, std::size_t piece) {
  std::string packed;
  GzipWriter writer([&](std::string_view bytes) { packed += bytes; });
  for (std::size_t at = 0; at < text.size(); at += piece) writer.write(std::string_view(text).substr(at, piece));
  writer.finish();
  return packed;
}

// By zlib, member by member, as RFC 1952 has it.
std::string gunzip(const std::string& packed, std::size_t size) {
  std::string text(size + 1, '\0');
  std::size_t done = 0;
  z_stream z{};
  EXPECT_EQ(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  z.avail_in = static_cast<uInt>(packed.size());
  do {
    z.next_out = reinterpret_cast<Bytef*>(text.data() + done);
    z.avail_out = static_cast<uInt>(text.size() - done);
    if (const int result = inflate(&z, Z_FINISH); result != Z_STREAM_END) {
      ADD_FAILURE() << "inflate() gives " << result << " after " << done << " bytes";
      break;
    }
    done += z.total_out;
  } while (z.avail_in > 0 && inflateReset(&z) == Z_OK);
  text.resize(done);
  inflateEnd(&z);
  return text;
}

std::string words(std::size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + " of many\n";
  return text.substr(0, bytes);
}

std::string noise(std::size_t bytes) {
  std::mt19937 random(7);
  std::string text(bytes, '\0');
  for (auto& c : text) c = static_cast<char>(random());
  return text;
}

TEST(GzipWriter, GivesBackWhatItGot) {
  const std::string mixed = words(300000) + noise(700001) + words(262144) + noise(10) + words(5999999) + noise(262144 * 3);
  for (const auto& text :
       {std::string(), std::string("x"), words(262144), noise(262144), noise(2000000), words(16 * 262144), words(16 * 262144 + 1), mixed}) {
    const std::string packed = gzip(text, 65536);
    EXPECT_EQ(gunzip(packed, text.size()), text);
    // However it comes: archives are written in pieces of any size.
    EXPECT_TRUE(gzip(text, 1013) == packed);
    EXPECT_LT(packed.size(), text.size() + text.size() / 1000 + 100);
  }
}

TEST(GzipWriter, CompressesWhatShrinksBesideWhatDoesNot) {
  const std::string text = words(4 << 20) + noise(4 << 20) + words(4 << 20);
  EXPECT_LT(gzip(text, 65536).size(), (4U << 20) + (2U << 20));
}

}  // namespace
}  // namespace kiln::image

#include "provider/aws/user_data.h"

#include <zlib.h>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::provider::on_aws {

namespace {

constexpr std::size_t kMostBytes = 16 * 1024;
constexpr int kGzip = 15 + 16;  // zlib's word for a gzip header around its largest window

std::string gzip(const std::string& text) {
  z_stream stream{};
  if (::deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzip, 9, Z_DEFAULT_STRATEGY) != Z_OK) fail("cannot start zlib");
  std::string packed(::deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = ::deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (result != Z_STREAM_END) fail("cannot pack the node document");
  return packed;
}

std::string gunzip(const std::string& packed) {
  z_stream stream{};
  if (::inflateInit2(&stream, kGzip) != Z_OK) fail("cannot start zlib");
  std::string text(config::kMaxDocumentBytes, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  const int result = ::inflate(&stream, Z_FINISH);
  text.resize(stream.total_out);
  ::inflateEnd(&stream);
  if (result != Z_STREAM_END) fail("the user data is no node document: it was not packed by kiln");
  return text;
}

}  // namespace

namespace {

std::string pack(const std::string& text, const std::string& cluster) {
  const std::string packed = gzip(text);
  if (packed.size() > kMostBytes) {
    Error error(fmt::format("the node document of cluster '{}' takes {} bytes; EC2 carries {}", cluster, packed.size(), kMostBytes));
    error.set_hint(
        "of a script of --user-data: let it fetch its larger part; of module parameters: fewer or shorter ones, or an image of your own");
    throw error;
  }
  return to_base64(packed);
}

// cloud-init's words: a first line, and YAML, which JSON is.
constexpr const char* kCloudConfig = "#cloud-config\n";
const std::string kStockFolder = "/usr/lib/kiln/stock/";

Json file_to_write(const std::string& path, const std::string& text, const char* mode) {
  return {{"path", path}, {"permissions", mode}, {"content", text}};
}

// Of a machine of a stock image the document is in a file that cloud-init writes.
std::string document_in(const std::string& text) {
  const Json config = Json::parse(text.substr(std::string_view(kCloudConfig).size()), nullptr, false);
  if (config.is_object()) {
    for (const auto& file : config.value("write_files", Json::array())) {
      if (file.value("path", "") != kStockFolder + "seed.json") continue;
      const Json seed = Json::parse(file.value("content", ""), nullptr, false);
      if (seed.is_object() && seed.contains("document")) return seed.at("document").dump();
    }
  }
  return text;
}

}  // namespace

std::string user_data_of(const config::NodeDocument& document) {
  return pack(config::node_document_to_json(document).dump(), document.cluster);
}

// With ssh_keys there are no others, from the first start of the server on ("cc_ssh" of cloud-init). Host names and hosts files are the
// agent's.
std::string stock_user_data_of(const config::NodeDocument& document, const ParcelRef& parcel, const std::string& host_public_key) {
  Json files = Json::array();
  Json seed = {{"document", config::node_document_to_json(document)}, {"parcel", parcel.sha256}};
  files.push_back(file_to_write(kStockFolder + "seed.json", seed.dump(), "0600"));
  for (const auto& [name, text] : parcel.files) {
    const bool is_unit = name.ends_with(".service");
    files.push_back(file_to_write((is_unit ? "/etc/systemd/system/" : kStockFolder) + name, text, is_unit ? "0644" : "0755"));
  }
  const auto& ssh = document.ssh.value();
  const Json config = {{"ssh_deletekeys", true},
                       {"ssh_keys", {{"ed25519_private", ssh.host_key}, {"ed25519_public", host_public_key}}},
                       {"ssh_authorized_keys", ssh.authorized_keys},
                       {"preserve_hostname", true},
                       {"manage_etc_hosts", false},
                       {"write_files", files},
                       {"runcmd", Json::array({Json::array({"systemctl", "daemon-reload"}),
                                               Json::array({"systemctl", "enable", "--now", "--no-block", "kiln-stock.service"})})}};
  return pack(kCloudConfig + config.dump(), document.cluster);
}

std::string document_text_of(const std::string& user_data) {
  std::string text = user_data;
  std::erase_if(text, [](char letter) { return letter == '\n' || letter == '\r' || letter == ' '; });
  const auto bytes = from_base64(text);
  if (!bytes) fail("the user data is no node document: it is no base64");
  text = bytes->starts_with("\x1f\x8b") ? gunzip(*bytes) : *bytes;
  return text.starts_with(kCloudConfig) ? document_in(text) : text;
}

}  // namespace kiln::provider::on_aws

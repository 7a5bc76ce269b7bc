#include "aws/ebs.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"

namespace kiln::aws {

namespace {

// Hex digits to the base64 of the bytes that they stand for.
std::string base64_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return to_base64(bytes);
}

std::string block_path(const std::string& snapshot_id, std::int64_t index) {
  return fmt::format("/snapshots/{}/blocks/{}", percent_encode(snapshot_id), index);
}

}  // namespace

Ebs::Ebs(const Session& session) : client_(session.client("ebs")) {}

Json Ebs::json_call(const std::string& operation, const std::string& method, const std::string& path, const std::string& query,
                    const Json& body, const Headers& headers) const {
  const std::string text_body = body.is_null() ? "" : body.dump();
  ServiceRequest request;
  request.operation = operation;
  request.method = method;
  request.path = path;
  request.query = query;
  request.headers = headers;
  if (!text_body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = text_body;
  request.may_repeat = true;  // starting has a token; completing and reading say the same twice
  Json answer;
  request.read = [&](const HttpResponse& response) {
    answer = Json::parse(response.body, nullptr, false);
    if (!answer.is_object()) fail("the answer is no JSON object");
  };
  client_.send(request);
  return answer;
}

StartedSnapshot Ebs::start_snapshot(const NewSnapshot& snapshot) const {
  Json body{{"VolumeSize", snapshot.volume_size_gib}, {"Timeout", snapshot.timeout.count()}};
  body["ClientToken"] = snapshot.client_token.empty() ? client_token() : snapshot.client_token;
  if (!snapshot.parent_snapshot_id.empty()) body["ParentSnapshotId"] = snapshot.parent_snapshot_id;
  if (!snapshot.description.empty()) body["Description"] = snapshot.description;
  if (snapshot.encrypted) body["Encrypted"] = true;
  if (!snapshot.kms_key_arn.empty()) body["KmsKeyArn"] = snapshot.kms_key_arn;
  for (const auto& [key, value] : snapshot.tags) body["Tags"].push_back(Json::object({{"Key", key}, {"Value", value}}));
  const Json answer = json_call("StartSnapshot", "POST", "/snapshots", "", body);
  return {required_text(answer, "SnapshotId"),
          text(answer, "Status"),
          text(answer, "ParentSnapshotId"),
          text(answer, "KmsKeyArn"),
          integer(answer, "VolumeSize").value_or(snapshot.volume_size_gib),
          integer(answer, "BlockSize").value_or(static_cast<std::int64_t>(kEbsBlockBytes))};
}

void Ebs::put_block(const std::string& snapshot_id, std::int64_t index, std::string_view data, const std::string& given_sha256) const {
  const std::string sha256 = given_sha256.empty() ? sha256_hex(data) : given_sha256;
  ServiceRequest request;
  request.operation = "PutSnapshotBlock";
  request.method = "PUT";
  request.path = block_path(snapshot_id, index);
  request.headers = {{"Content-Type", "application/octet-stream"},
                     {"x-amz-Checksum", base64_of_hex(sha256)},
                     {"x-amz-Checksum-Algorithm", "SHA256"},
                     {"x-amz-Data-Length", std::to_string(data.size())}};
  request.body = data;
  request.body_sha256 = sha256;
  request.sign_body_header = true;
  request.may_repeat = true;
  client_.send(request);
}

std::string Ebs::complete_snapshot(const std::string& snapshot_id, std::int64_t changed_blocks, const std::string& checksum_base64) const {
  Headers headers{{"x-amz-ChangedBlocksCount", std::to_string(changed_blocks)}};
  if (!checksum_base64.empty()) {
    headers.emplace_back("x-amz-Checksum", checksum_base64);
    headers.emplace_back("x-amz-Checksum-Algorithm", "SHA256");
    headers.emplace_back("x-amz-Checksum-Aggregation-Method", "LINEAR");
  }
  const std::string path = "/snapshots/completion/" + percent_encode(snapshot_id);
  return required_text(json_call("CompleteSnapshot", "POST", path, "", Json(), headers), "Status");
}

void Ebs::list_blocks(const std::string& operation, const std::string& path, std::string query, std::string_view item_path,
                      const std::function<void(const SnapshotBlock&)>& each) const {
  const bool changed = operation == "ListChangedBlocks";
  const std::string base = std::move(query);
  std::string token;
  for (;;) {
    const Json answer = json_call(operation, "GET", path, token.empty() ? base : base + "&pageToken=" + percent_encode(token), Json());
    for (const Json& block : list(answer, item_path)) {
      each({integer(block, "BlockIndex").value_or(-1), text(block, changed ? "SecondBlockToken" : "BlockToken"),
            changed ? text(block, "FirstBlockToken") : std::string()});
    }
    std::string next = text(answer, "NextToken");
    if (next.empty()) return;
    if (next == token) fail("{} sends the same page again and again", operation);
    token = std::move(next);
  }
}

void Ebs::list_snapshot_blocks(const std::string& snapshot_id, const std::function<void(const SnapshotBlock&)>& each) const {
  list_blocks("ListSnapshotBlocks", "/snapshots/" + percent_encode(snapshot_id) + "/blocks", "maxResults=10000", "Blocks", each);
}

void Ebs::list_changed_blocks(const std::string& first_snapshot_id, const std::string& second_snapshot_id,
                              const std::function<void(const SnapshotBlock&)>& each) const {
  list_blocks("ListChangedBlocks", "/snapshots/" + percent_encode(second_snapshot_id) + "/changedblocks",
              "firstSnapshotId=" + percent_encode(first_snapshot_id) + "&maxResults=10000", "ChangedBlocks", each);
}

std::string Ebs::get_block(const std::string& snapshot_id, std::int64_t index, const std::string& token) const {
  ServiceRequest request;
  request.operation = "GetSnapshotBlock";
  request.method = "GET";
  request.path = block_path(snapshot_id, index);
  request.query = "blockToken=" + percent_encode(token);
  request.may_repeat = true;
  // A wrong checksum counts as no answer: it is asked for again.
  request.read = [&](const HttpResponse& response) {
    const std::string wanted = response.header("x-amz-checksum");
    if (wanted.empty()) fail("block {} of snapshot '{}' came without a checksum", index, snapshot_id);
    if (base64_of_hex(sha256_hex(response.body)) != wanted) fail("block {} of snapshot '{}' does not fit its checksum", index, snapshot_id);
  };
  return client_.send(request).body;
}

}  // namespace kiln::aws

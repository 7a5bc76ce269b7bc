// The AWS client library on a line: what tests/30-aws.test compares with AWS's own library, and drives servers with. Reads a JSON object a
// line, and answers with one.
//
//   aws_probe sign         {method, url, headers, body, region, service, time, key, secret, token} → {authorization}
//   aws_probe profiles     {config, credentials: texts} → {profiles, sso_sessions, services} or {error}
//   aws_probe endpoint     {service, region, profile} → {url, signing_region, signing_name} or {error}
//   aws_probe credentials  {profile} → {key, secret, token, source, expires} or {error}
//   aws_probe call         {service, region, operation, params, all} → {answer} or {error}; S3: {operation, bucket, key, data …}
//
// With AWS_PROBE_FAST pauses are not made but told ("paused": milliseconds), and chance is always 1; AWS_PROBE_CLOCK sets the clock ahead
// by so many seconds.
#include <fmt/core.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <map>

#include "aws/ebs.h"
#include "aws/ec2.h"
#include "aws/iam.h"
#include "aws/profiles.h"
#include "aws/s3.h"
#include "aws/session.h"
#include "aws/sigv4.h"
#include "aws/ssm.h"
#include "aws/sts.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/strings.h"

namespace {

using namespace kiln;
using namespace kiln::aws;

Json sign_one(const Json& in) {
  const std::string whole = in["url"];
  const std::size_t end = std::min(whole.find_first_of("/?", whole.find("://") + 3), whole.size());
  const auto url = parse_url(whole.substr(0, end));
  const std::string rest = whole.substr(end);
  SigningInput input;
  input.method = in["method"];
  input.host = url->host;
  const std::size_t mark = rest.find('?');
  input.path = rest.substr(0, mark);
  if (mark != std::string::npos) input.query = rest.substr(mark + 1);
  for (const auto& header : in["headers"]) input.headers.emplace_back(header[0], header[1]);
  input.payload_sha256 = sha256_hex(*from_base64(in["body"].get<std::string>()));
  const bool s3 = in["service"] == "s3";
  const SigningScope scope{in["region"], in["service"], *parse_iso_time(in["time"]), s3, s3};
  for (const auto& [name, value] : sign(input, scope, {in["key"], in["secret"], in["token"], {}, {}})) {
    if (name == "Authorization") return {{"authorization", value}};
  }
  return {};
}

Json sections(const std::map<std::string, Section>& all) {
  Json out = Json::object();
  for (const auto& [name, section] : all) {
    out[name] = Json::object();
    for (const auto& [key, setting] : section) {
      if (setting.value.starts_with('\n'))
        out[name][key] = Json(setting.nested);
      else
        out[name][key] = setting.value;
    }
  }
  return out;
}

Json profiles_of(const Json& in) {
  const Profiles profiles("config", in["config"].get<std::string>(), "credentials", in["credentials"].get<std::string>());
  return {{"profiles", sections(profiles.profiles())},
          {"sso_sessions", sections(profiles.sso_sessions())},
          {"services", sections(profiles.services())}};
}

std::vector<std::int64_t> paused;

Surroundings surroundings_for() {
  Surroundings out = Surroundings::real();
  if (const auto ahead = out.variable("AWS_PROBE_CLOCK"))
    out.now = [seconds = std::stoi(*ahead)] { return std::chrono::system_clock::now() + std::chrono::seconds(seconds); };
  if (!out.variable("AWS_PROBE_FAST")) return out;
  out.sleep = [](std::chrono::milliseconds duration) { paused.push_back(duration.count()); };
  out.random = [] { return 1.0; };
  return out;
}

Session session_for(const Json& in) {
  return Session({.profile = text(in, "profile"), .region = text(in, "region"), .surroundings = surroundings_for()});
}

Json endpoint_of(const Json& in) {
  const Endpoint endpoint = session_for(in).endpoint(in["service"]);
  return {{"url", endpoint.url}, {"signing_region", endpoint.signing_region}, {"signing_name", endpoint.signing_name}};
}

Json credentials_of(const Json& in) {
  const Session session = session_for(in);
  const Credentials found = session.credentials();
  Json out{{"key", found.access_key_id}, {"secret", found.secret_access_key}, {"token", found.session_token}, {"source", found.source}};
  if (found.expires) out["expires"] = iso_time(*found.expires);
  return out;
}

Json s3_call(const Session& session, const Json& in) {
  const S3 s3(session);
  const std::string operation = in["operation"], bucket = in["bucket"], key = text(in, "key");
  if (operation == "put") s3.put(bucket, key, *from_base64(text(in, "data")));
  if (operation == "remove") s3.remove(bucket, key);
  if (operation == "get") {
    const auto data = s3.get(bucket, key);
    return data ? Json(to_base64(*data)) : Json();
  }
  if (operation == "head") {
    const auto object = s3.head(bucket, key);
    return object ? Json::object({{"size", object->size_bytes}, {"modified", object->last_modified}}) : Json();
  }
  if (operation != "list") return Json();
  Json out = Json::array();
  for (const auto& object : s3.list(bucket, text(in, "prefix"), static_cast<int>(integer(in, "page").value_or(1000))))
    out.push_back(object.key);
  return out;
}

template <class Service>
Json service_call(const Session& session, const Json& in) {
  const Service service(session);
  const Json params = in.value("params", Json::object());
  if (in.contains("all")) return Json(service.call_all(in["operation"], params, in["all"].get<std::string>()));
  return service.call(in["operation"], params);
}

Json ebs_call(const Session& session, const Json& in) {
  const Ebs ebs(session);
  const std::string operation = in["operation"], id = text(in, "id");
  if (operation == "start") {
    NewSnapshot snapshot;
    snapshot.volume_size_gib = 1;
    snapshot.description = "probe";
    snapshot.tags = {{"a", "b"}};
    return ebs.start_snapshot(snapshot).id;
  }
  if (operation == "put") ebs.put_block(id, *integer(in, "index"), *from_base64(text(in, "data")));
  if (operation == "complete") return ebs.complete_snapshot(id, *integer(in, "count"));
  Json out = Json::array();
  if (operation == "read")
    ebs.list_snapshot_blocks(id, [&](const SnapshotBlock& block) {
      out.push_back(Json::object({{"index", block.index}, {"data", to_base64(ebs.get_block(id, block.index, block.token))}}));
    });
  return out;
}

Json call_one(const Json& in) {
  // One session for the whole run, as a command has it.
  static std::map<std::string, Session> sessions;
  const std::string name = text(in, "profile") + "/" + text(in, "region");
  if (!sessions.contains(name)) sessions.emplace(name, session_for(in));
  const Session& session = sessions.at(name);
  const std::string service = in["service"];
  if (service == "s3") return {{"answer", s3_call(session, in)}};
  if (service == "ebs") return {{"answer", ebs_call(session, in)}};
  if (service == "iam") return {{"answer", service_call<Iam>(session, in)}};
  if (service == "ssm") return {{"answer", service_call<Ssm>(session, in)}};
  if (service == "sts") return {{"answer", Sts(session).call(in["operation"], in.value("params", Json::object()))}};
  return {{"answer", service_call<Ec2>(session, in)}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<Json(const Json&)>> commands{
      {"sign", sign_one}, {"profiles", profiles_of}, {"endpoint", endpoint_of}, {"credentials", credentials_of}, {"call", call_one}};
  const auto command = commands.find(argc > 1 ? argv[1] : "");
  if (command == commands.end()) return 2;
  catch_interrupts();
  for (std::string line; std::getline(std::cin, line);) {
    Json out;
    paused.clear();
    try {
      out = command->second(Json::parse(line));
    } catch (const ApiError& error) {
      out = {{"error", error.what()},    {"hint", error.hint_text()},
             {"code", error.code()},     {"request_id", error.request_id()},
             {"status", error.status()}, {"may_have_acted", error.may_have_acted()}};
    } catch (const Error& error) {
      out = {{"error", error.what()}, {"hint", error.hint_text()}};
    }
    if (!paused.empty()) out["paused"] = paused;
    std::cout << out.dump() << std::endl;
  }
  return 0;
}

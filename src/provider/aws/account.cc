#include "provider/aws/account.h"

#include <cstdlib>

#include "base/files.h"
#include "base/home.h"
#include "base/json.h"

namespace kiln::provider::on_aws {

namespace {
// What uploads of AMIs keep lies beside it.
constexpr const char* kClusters = "aws/clusters";
}  // namespace

bool Account::is_configured() const {
  if (session_) return true;
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
                           "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return true;
  }
  std::error_code ignored;
  if (const fs::path known = home_folder() / kClusters; fs::is_directory(known, ignored) && !fs::is_empty(known, ignored)) return true;
  const char* home = std::getenv("HOME");
  return home != nullptr &&
         (fs::exists(fs::path(home) / ".aws/credentials", ignored) || fs::exists(fs::path(home) / ".aws/config", ignored));
}

void Account::use(const std::string& profile, const std::string& region) {
  kiln::aws::SessionOptions options;
  options.profile = profile_ = profile;
  options.region = region;
  session_.emplace(options);
  ec2_.reset();
}

void Account::use_region(const std::string& region) {
  session_ = session().for_region(region);
  ec2_.reset();
}

const kiln::aws::Session& Account::session() {
  if (!session_) session_.emplace();
  return *session_;
}

const kiln::aws::Ec2& Account::ec2() {
  if (!ec2_) ec2_.emplace(session());
  return *ec2_;
}

std::vector<kiln::aws::Session> Account::everywhere() {
  const std::string here = session().region();
  std::vector<kiln::aws::Session> sessions = {session()};
  for (const Json& region : kiln::aws::list(ec2().call("DescribeRegions"), "regionInfo")) {
    const std::string name = kiln::aws::required_text(region, "regionName");
    if (name != here) sessions.push_back(session().for_region(name));
  }
  return sessions;
}

void Account::remember_place(const std::string& cluster) {
  make_folder(folder_of(cluster), 0700);
  write_file_atomically(folder_of(cluster) / "place.json", Json{{"region", session().region()}, {"profile", profile_}}.dump() + "\n");
}

std::optional<Account::Place> Account::place_of(const std::string& cluster) {
  const auto text = read_file_if_there(folder_of(cluster) / "place.json");
  if (!text) return std::nullopt;
  const Json place = Json::parse(*text, nullptr, false);
  if (!place.is_object() || !place.contains("region") || !place.at("region").is_string()) return std::nullopt;
  return Place{place.at("region").get<std::string>(), place.value("profile", "")};
}

bool Account::use_place_of(const std::string& cluster) {
  const auto place = place_of(cluster);
  if (place) use(place->profile, place->region);
  return place.has_value();
}

fs::path Account::folder_of(const std::string& cluster) { return home_folder() / kClusters / cluster; }

}  // namespace kiln::provider::on_aws

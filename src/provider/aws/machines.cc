#include "provider/aws/machines.h"

#include <algorithm>
#include <set>

#include "aws/wait.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/strings.h"
#include "provider/aws/fresh.h"
#include "provider/aws/instance_profile.h"
#include "provider/aws/run_request.h"

namespace kiln::provider::on_aws {

namespace {

constexpr std::size_t kConsoleLines = 15;
// Ten seconds, more often than not ("Changes that I make are not always immediately visible", IAM user guide).
constexpr std::chrono::seconds kProfileTime{120};

// What a terminal would make of it is of no use here: colours and cursor movements go.
std::string without_escapes(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      if (i + 1 < text.size() && text[i + 1] == '[') {
        for (i += 2; i < text.size() && !(text[i] >= '@' && text[i] <= '~'); ++i) {
        }
      }
    } else if (text[i] == '\n' || text[i] == '\t' || static_cast<unsigned char>(text[i]) >= ' ') {
      out += text[i];
    }
  }
  return kiln::aws::valid_utf8(out);
}

std::string console_of(const kiln::aws::Ec2& ec2, const std::string& id) {
  // The newest is told of Nitro's instances only; of others what EC2 took some minutes ago.
  for (const bool latest : {true, false}) {
    try {
      const Json answer = ec2.call("GetConsoleOutput", {{"InstanceId", id}, {"Latest", latest}});
      std::string output = kiln::aws::text(answer, "output");
      std::erase_if(output, [](char letter) { return letter == '\n' || letter == '\r'; });
      return without_escapes(from_base64(output).value_or(""));
    } catch (const Interrupted&) {
      throw;
    } catch (const Error&) {
      continue;
    }
  }
  return {};
}

}  // namespace

namespace {

// The machines of a request that was made before. Its name is theirs, so are their numbers.
std::vector<Machine> wait_until_shown(const kiln::aws::Ec2& ec2, const Record& record, const Batch& batch) {
  std::vector<Machine> shown;
  kiln::aws::wait_until(ec2.surroundings(), fmt::format("EC2 to show the machines of cluster '{}'", record.cluster.name), kShowTime, [&] {
    shown.clear();
    for (const auto& now : find_records(ec2, record.cluster.name)) {
      for (const auto& instance : now.instances) {
        const int number = std::stoi(instance.name.substr(instance.name.rfind('-') + 1)) - batch.first_number;
        if (instance.launch == record.launch && instance.role == batch.role && number >= 0 && number < batch.count)
          shown.push_back(instance);
      }
    }
    return static_cast<int>(shown.size()) == batch.count;
  });
  return shown;
}

// EC2 may not know a profile yet that was made a moment ago.
Json run(const kiln::aws::Ec2& ec2, const Json& parameters, bool profile_is_new) {
  if (!profile_is_new) return call_about_new(ec2, "RunInstances", parameters);
  Json answer;
  kiln::aws::wait_until(ec2.surroundings(), "EC2 to know the cluster's instance profile", kProfileTime, [&] {
    try {
      answer = call_about_new(ec2, "RunInstances", parameters);
      return true;
    } catch (const kiln::aws::ApiError& error) {
      if (!is_unknown_profile(error)) throw;
      return false;
    }
  });
  return answer;
}

// The first of the ways that EC2 has room for.
std::vector<Machine> run_one_request(const kiln::aws::Ec2& ec2, const Record& record, const RunRequest& request, const std::string& word) {
  Json parameters = request.parameters;
  for (std::size_t i = 0;; ++i) {
    const Way& way = request.ways.at(i);
    apply_way(parameters, way);
    parameters["ClientToken"] = kiln::aws::client_token(
        fmt::format("{} {} {} {} {}", word, request.batch.role, request.batch.first_number, request.batch.count, describe(way)));
    try {
      std::vector<Machine> instances;
      // Not copied: what is told of a thousand takes megabytes.
      const Json answer = run(ec2, parameters, !record.made_profile.empty());
      for (const auto& json : kiln::aws::at(answer, "instancesSet")) instances.push_back(read_machine(json));
      return instances;
    } catch (const kiln::aws::ApiError& error) {
      // Another process has asked, with another end of the lease in the user data.
      if (error.code() == "IdempotentParameterMismatch") return wait_until_shown(ec2, record, request.batch);
      if (!is_no_room(error) || i + 1 == request.ways.size()) throw;
      say(fmt::format("no room for {} {} ({}): trying {}", request.batch.count, describe(way), error.code(),
                      describe(request.ways[i + 1])));
    }
  }
}

}  // namespace

void run_instances(const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request, const Place& place, const Batch& batch,
                   const std::vector<Node>& known, std::vector<Machine>& made, const std::string& word) {
  for (const auto& one : run_requests(ec2, record, request, place, batch, known)) {
    for (auto& instance : run_one_request(ec2, record, one, word)) made.push_back(std::move(instance));
  }
}

std::vector<Batch> missing_nodes(const Record& record, const std::string& role) {
  std::set<std::string> present;
  for (const auto& instance : record.instances) present.insert(instance.name);
  std::vector<Batch> batches;
  for (int number = 1; number <= (role == "master" ? record.masters : record.workers); ++number) {
    if (present.count(fmt::format("{}-{}", role, number)) != 0) continue;
    if (batches.empty() || role == "master" || batches.back().first_number + batches.back().count != number)
      batches.push_back({role, number, 0});
    ++batches.back().count;
  }
  return batches;
}

std::vector<Node> masters_to_tell(const Record& record, const std::string& role) {
  std::vector<Node> masters;
  if (role == "master" && record.masters == 1) return masters;
  for (int number = 1; number <= record.masters; ++number) {
    Node node;
    node.name = fmt::format("master-{}", number);
    node.role = "master";
    const auto found =
        std::find_if(record.instances.begin(), record.instances.end(), [&](const Machine& one) { return one.name == node.name; });
    if (found != record.instances.end()) node.address = found->private_address;
    if (role == "master" || !node.address.empty()) masters.push_back(std::move(node));
  }
  return masters;
}

std::string trouble_of(const kiln::aws::Ec2& ec2, const Machine& instance) {
  std::string text = fmt::format("instance {} is {}", instance.id, instance.state);
  if (!instance.reason.empty()) text += ": " + instance.reason;
  std::vector<std::string> lines;
  for (const auto& line : split(console_of(ec2, instance.id), '\n')) {
    if (!trim(line).empty()) lines.push_back("    " + line);
  }
  if (lines.empty()) return text + "; its console says nothing";
  if (lines.size() > kConsoleLines) lines.erase(lines.begin(), lines.end() - kConsoleLines);
  return text + "; the end of its console:\n" + join(lines, "\n");
}

}  // namespace kiln::provider::on_aws

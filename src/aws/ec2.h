// Amazon EC2, API version 2016-11-15.
//
//   aws::Ec2 ec2(session);
//   Json answer = ec2.call("DescribeImages", {{"Owner", Json::array({"self"})}, {"Filter", Json::array({{{"Name", "state"}, {"Value",
//   …}}})}}); for (const Json& image : aws::list(answer, "imagesSet")) aws::text(image, "imageId"); std::vector<Json> all =
//   ec2.call_all("DescribeInstances", {{"MaxResults", 1000}}, "reservationSet");
//
// Parameters are a tree with the names that go over the wire (the "Request Parameters" of EC2's API reference without ".N"): lists become
// Filter.1.Name, truth values "true" and "false"; binary values (UserData) are given in base64. Null values are left out.
// Answers are the XML as Json (answer.h), without the outermost element.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"

namespace kiln::aws {

class Ec2 {
 public:
  explicit Ec2(const Session& session);

  const std::string& region() const { return client_.region(); }
  // The session's clock, pauses and chance.
  const Surroundings& surroundings() const { return client_.surroundings(); }

  // ApiError when EC2 refuses or cannot be reached. Thread-safe. For calls that make something give a "ClientToken" where EC2 knows one.
  Json call(const std::string& operation, const Json& params = Json::object(), const CallOptions& options = {}) const;
  // All items of all pages. Give "MaxResults" (EC2 allows up to 1000 for most), or EC2 may send all at once.
  std::vector<Json> call_all(const std::string& operation, const Json& params, std::string_view item_path) const;

  // Each item of all pages, one page at a time in memory.
  void call_each(const std::string& operation, const Json& params, std::string_view item_path,
                 const std::function<void(const Json& item)>& take) const;

  // Sets tags on up to any number of resources, 500 a call (EC2's limit is 1000).
  void create_tags(const std::vector<std::string>& resource_ids, const std::vector<std::pair<std::string, std::string>>& tags) const;

 private:
  Client client_;
};

// {"Filter": [{"Name": name, "Value": [values…]}, …]} as DescribeX wants it.
Json filters(const std::vector<std::pair<std::string, std::vector<std::string>>>& wanted);
// TagSpecification for `resource_type` ("instance"), for the calls that make resources.
Json tag_specification(const std::string& resource_type, const std::vector<std::pair<std::string, std::string>>& tags);

}  // namespace kiln::aws

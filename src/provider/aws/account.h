// The account and the region that a command works in: as AWS's own tools find them, as a cluster spec names them, or, for a cluster that
// exists already, where it is.
//
//   KILN_HOME/aws/CLUSTER/place.json    {"region", "profile"} of a launch from this machine: only where to look first. A cluster that
//                                       another machine launched is found by looking into every region of the account.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "aws/ec2.h"
#include "aws/session.h"

namespace kiln::provider::on_aws {

class Account {
 public:
  // Whether this user has anything to do with AWS: nobody else's `kiln list` shall ask, or wait for, a cloud.
  bool is_configured() const;

  // From now on this profile and region; empty: as AWS's own tools find them.
  void use(const std::string& profile, const std::string& region);
  // From now on this region, with the same credentials.
  void use_region(const std::string& region);

  const std::string& profile() const { return profile_; }
  const kiln::aws::Session& session();
  const kiln::aws::Ec2& ec2();
  // The session in each region that the account has enabled, the present one first.
  std::vector<kiln::aws::Session> everywhere();

  struct Place {
    std::string region, profile;
  };
  void remember_place(const std::string& cluster);
  // Nothing when none was remembered.
  static std::optional<Place> place_of(const std::string& cluster);
  // use() as it was remembered; false when nothing was.
  bool use_place_of(const std::string& cluster);

  // What this machine keeps of the cluster: keys and sockets of SSH, all of it made anew when it is missing.
  static std::filesystem::path folder_of(const std::string& cluster);

 private:
  std::string profile_;
  std::optional<kiln::aws::Session> session_;
  std::optional<kiln::aws::Ec2> ec2_;
};

}  // namespace kiln::provider::on_aws

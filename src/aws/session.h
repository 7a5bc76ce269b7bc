// Where everything starts: who we are at AWS, and where.
//
//   aws::Session session({.profile = "dev", .region = "eu-central-1"});     // both optional: found as every AWS tool finds them
//   aws::Ec2 ec2(session);
//   aws::Ec2 far(session.for_region("ap-northeast-1"));                      // same credentials, same budget of retries
//
// A Session is a cheap handle: copies share credentials (fetched once, refreshed before they expire), connections, the clock's offset
// and the budget of retries. All of it may be used by many threads at once. Nothing is fetched before it is needed.
#pragma once

#include <memory>
#include <string>

#include "aws/credentials.h"
#include "aws/endpoints.h"
#include "aws/surroundings.h"

namespace kiln::aws {

struct ClientContext;

struct SessionOptions {
  std::string profile;  // empty: AWS_PROFILE, AWS_DEFAULT_PROFILE, else "default"
  std::string region;   // empty: AWS_REGION, AWS_DEFAULT_REGION, the profile's, else (on an instance) the metadata service's
  Surroundings surroundings = Surroundings::real();
};

class Session {
 public:
  // Reads the configuration files. UsageError for a profile that was named and is in neither; Error for files that cannot be understood.
  explicit Session(const SessionOptions& options = {});

  // The same in another region. One of another partition needs other credentials: make a Session with another profile.
  Session for_region(const std::string& region) const;

  // The name of the profile in use; "default" when none was named.
  const std::string& profile() const;
  // "eu-central-1". Error with a hint when none is known.
  std::string region() const;
  // Where the region came from, for people: "AWS_REGION", "profile 'dev'" …
  std::string region_source() const;
  // The partition of region(): its name ("aws", "aws-cn", "aws-us-gov" …), DNS suffix and ARN prefix.
  const Partition& partition() const { return partition_of(region()); }

  // Error, saying where was looked and what to do, when there are none.
  Credentials credentials() const;
  // Where requests of `service` ("ec2", "ebs", "iam", "sts", "ssm", "s3", "pricing") go in region().
  Endpoint endpoint(const std::string& service) const;

  // What the services' classes are made of (client.h).
  ClientContext client(const std::string& service) const;
  const Surroundings& surroundings() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::string region_;  // asked for; empty: as found
};

}  // namespace kiln::aws

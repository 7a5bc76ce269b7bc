#include "aws/session.h"

#include <mutex>

#include "aws/client.h"
#include "aws/configuration.h"
#include "aws/credential_sources.h"
#include "aws/http.h"
#include "aws/retry.h"
#include "base/error.h"

namespace kiln::aws {

namespace {

// A file of certificates to trust: AWS's own variable, then those that the curl program knows.
std::string ca_bundle(const Configuration& configuration) {
  if (auto bundle = configuration.setting("AWS_CA_BUNDLE", "ca_bundle")) return *bundle;
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (auto bundle = configuration.surroundings().variable(name)) return *bundle;
  }
  return {};
}

}  // namespace

struct Session::State {
  explicit State(const SessionOptions& given) : options(given), configuration(given.surroundings, given.profile, given.region) {}
  SourceContext context(const Configuration& with) const { return {with, http, budget, clock}; }

  SessionOptions options;
  Configuration configuration;
  std::shared_ptr<Http> http;
  std::shared_ptr<RetryBudget> budget = std::make_shared<RetryBudget>();
  std::shared_ptr<ClockOffset> clock = std::make_shared<ClockOffset>();
  std::shared_ptr<CredentialsCache> credentials;
  // The region that the metadata service gave; asked for once.
  std::mutex lock;
  std::optional<Configuration::Found> found_region;

  Configuration::Found region();
};

Configuration::Found Session::State::region() {
  if (auto found = configuration.region()) return *found;
  const std::lock_guard guard(lock);
  if (found_region) return *found_region;
  const SourceContext with = context(configuration);
  Metadata metadata(with);
  try {
    if (!metadata.is_disabled()) {
      if (const auto name = metadata.get("/latest/meta-data/placement/region"); name && is_region_name(*name))
        return *(found_region = Configuration::Found{*name, "this instance's metadata"});
    }
  } catch (const HttpFailure&) {
    // Not on an instance.
  }
  Error error(fmt::format("no AWS region is known: AWS_REGION and AWS_DEFAULT_REGION are not set, and profile '{}' has none",
                          configuration.profile()));
  error.set_hint("give one with --region, AWS_REGION or `aws configure set region REGION`");
  throw error;
}

Session::Session(const SessionOptions& options) : state_(std::make_shared<State>(options)) {
  state_->http = std::make_shared<Http>(ca_bundle(state_->configuration));
  // Files are read anew for each fetch: somebody may have changed the keys since.
  state_->credentials = std::make_shared<CredentialsCache>(
      [options, http = state_->http, budget = state_->budget, clock = state_->clock] {
        const Configuration configuration(options.surroundings, options.profile, options.region);
        return find_credentials({configuration, http, budget, clock});
      },
      options.surroundings);
}

Session Session::for_region(const std::string& region) const {
  Session out = *this;
  out.region_ = region;
  return out;
}

const std::string& Session::profile() const { return state_->configuration.profile(); }

std::string Session::region() const { return region_.empty() ? state_->region().value : region_; }

std::string Session::region_source() const { return region_.empty() ? state_->region().source : "asked for"; }

Credentials Session::credentials() const { return state_->credentials->get(); }

Endpoint Session::endpoint(const std::string& service) const { return state_->configuration.endpoint(service, region()); }

ClientContext Session::client(const std::string& service) const {
  ClientContext out = state_->context(state_->configuration).client(service, region(), std::nullopt);
  out.credentials = state_->credentials;
  return out;
}

const Surroundings& Session::surroundings() const { return state_->options.surroundings; }

}  // namespace kiln::aws

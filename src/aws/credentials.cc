#include "aws/credentials.h"

#include <algorithm>

#include "base/error.h"

namespace kiln::aws {

namespace {

constexpr std::chrono::minutes kMargin{15};

void blank_out(std::string& text, const std::string& secret) {
  if (secret.size() < 4) return;
  for (std::size_t place = 0; (place = text.find(secret, place)) != std::string::npos; place += 3)
    text.replace(place, secret.size(), "***");
}

}  // namespace

std::string without_secrets(std::string text, const Credentials& credentials) {
  blank_out(text, credentials.secret_access_key);
  blank_out(text, credentials.session_token);
  return text;
}

bool CredentialsCache::due(Time now) const {
  if (!current_->expires) return false;
  const auto life = *current_->expires - fetched_;
  return now >= *current_->expires - std::min<Time::duration>(kMargin, life / 4);
}

void CredentialsCache::fetch_now(Time now) {
  tried_ = now;
  current_ = fetch_();
  fetched_ = now;
}

Credentials CredentialsCache::get() {
  const std::lock_guard guard(lock_);
  const Time now = surroundings_.now();
  if (!current_) fetch_now(now);
  if (!due(now) || now == fetched_) return *current_;
  const bool alive = now < *current_->expires;
  if (alive && now - tried_ < std::chrono::minutes(1)) return *current_;
  try {
    fetch_now(now);
  } catch (const Interrupted&) {
    throw;
  } catch (const Error&) {
    if (!alive) throw;
  }
  return *current_;
}

bool CredentialsCache::refresh(const Credentials& refused) {
  const std::lock_guard guard(lock_);
  if (!current_ || current_->same_keys(refused)) fetch_now(surroundings_.now());
  return !current_->same_keys(refused);
}

}  // namespace kiln::aws

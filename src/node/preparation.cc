#include "node/preparation.h"

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "node/script.h"

namespace kiln::node {

namespace {

// What is on the instance store is lost when the machine stops: the file is made anew then. swapon wants blocks that are there, not holes.
constexpr const char* kMakeSwap = R"(
root=$1 bytes=$2
file=$root
for disk in /mnt/ephemeral0; do
    while read -r _ where _; do [ "$where" != "$disk" ] || file=$disk/swap; done < /proc/self/mounts
done
if [ ! -e "$file" ]; then
    rm -f "$file.new"
    fallocate -l "$bytes" "$file.new"
    chmod 600 "$file.new"
    mkswap "$file.new"
    mv "$file.new" "$file"
fi
while read -r used _; do [ "$used" != "$file" ] || exit 0; done < /proc/swaps
swapon "$file" || { rm -f "$file"; exit 1; }
echo "$file is in use"
)";

}  // namespace

Preparation::Preparation(Loop& loop, NodeEvents& events, const Paths& paths, const config::NodeDocument& document, Environment env)
    : loop_(loop), events_(events), paths_(paths), env_(std::move(env)) {
  if (document.swap_bytes > 0 && document.power_off) {
    const auto file = paths.state() / "swap";
    steps_.push_back({"swap", {"/bin/sh", "-euc", kMakeSwap, "swap", file.native(), std::to_string(document.swap_bytes)}, true, {}});
  }
  const auto marker = paths.state() / "user-data-ran";
  if (document.user_data.empty() || read_file_if_there(marker)) return;
  const auto script = paths.run() / "user-data";
  write_file_atomically(script, document.user_data, 0600);
  const std::string first_line = document.user_data.substr(0, document.user_data.find('\n'));
  steps_.push_back({"user-data", script_command(first_line, script.native(), false), false, marker});
}

void Preparation::start(std::function<void(const std::string&)> done) {
  done_ = std::move(done);
  next();
}

void Preparation::next() {
  if (at_ == steps_.size()) return done_("");
  run(steps_[at_++]);
}

void Preparation::run(const Step& step) {
  const auto log = logs_[step.name] = std::make_shared<LogFile>(paths_.logs() / (step.name + ".log"));
  try {
    SpawnRequest request;
    request.argv = step.argv;
    request.env = login_environment(request.user);
    for (const auto& [name, value] : env_) request.env[name] = value;
    Pipe output = make_pipe();
    request.standard_output = request.standard_error = output.write.get();
    const pid_t pid = spawn(request);
    pump_pipe(loop_, std::move(output.read), [log](std::string_view bytes) {
      if (!bytes.empty()) log->write(bytes);
    });
    loop_.on_exit(pid, false, [this, step, log](int status) {
      // The last words may still be in the pipe, which is read in the loop's next rounds.
      loop_.after(std::chrono::milliseconds(10), [this, step, log, status] {
        finish(step, exit_code_of(status) == 0 ? "" : fmt::format("{} failed: {}", step.name, describe_status(status)), log->tail());
      });
    });
  } catch (const std::exception& error) {
    finish(step, error.what(), "");
  }
}

void Preparation::finish(const Step& step, const std::string& why, const std::string& tail) {
  const std::string words = tail.empty() ? why : why + "\n" + tail;
  if (why.empty()) {
    events_.message(step.name, "done");
    if (!step.marker.empty()) write_file_atomically(step.marker, "");
  } else if (step.may_fail) {
    events_.message(step.name, words + "\ngoing on without", false);
  } else {
    return done_(words);
  }
  next();
}

}  // namespace kiln::node

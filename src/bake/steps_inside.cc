// The steps as they run in a cell: root of its namespaces, with mounts of its own that end with it.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>

#include "bake/accounts.h"
#include "bake/archive_facts.h"
#include "bake/java_keystore.h"
#include "bake/lent_files.h"
#include "bake/step_jobs.h"
#include "bake/steps.h"
#include "bake/store.h"
#include "bake/unpack.h"
#include "bake/untar.h"
#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "base/strings.h"
#include "container/cell.h"
#include "container/overlay.h"

namespace kiln::bake {

const char* const kBaseJob = "bake.base";
const char* const kRunJob = "bake.run";
const char* const kAgentJob = "bake.agent";
const char* const kCompareJob = "bake.compare";
const char* const kShellJob = "bake.shell";

namespace {

constexpr std::size_t kLinesInError = 20;
constexpr const char* kModules = "usr/lib/kiln/modules";
constexpr const char* kBasePreferences = "etc/apt/preferences.d/kiln-lock";

// The log file of a layer, and the last lines for the error.
class StepLog {
 public:
  explicit StepLog(const Json& place)
      : id_(place.at("activity")),
        name_(place.at("activity_name")),
        path_(place.at("log").get<std::string>()),
        work_(place.at("work").get<std::string>()) {
    file_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!file_) fail("cannot open the log '{}': {}", path_, errno_text(errno));
  }

  void line(std::string_view text) {
    const std::string whole = std::string(text) + "\n";
    // A full disk must not hide what the program said: the error has its lines from here.
    if (::write(file_.get(), whole.data(), whole.size()) < 0) full_ = full_ || errno == ENOSPC;
    if (text.find("No space left on device") != std::string_view::npos) full_ = true;
    last_.emplace_back(text);
    if (last_.size() > kLinesInError) last_.pop_front();
    Event event;
    event.kind = Event::Kind::kProgress;
    event.id = id_;
    event.name = name_;
    event.text = text;
    publish(std::move(event));
  }

  [[noreturn]] void fail_step(const std::string& what) const {
    // Another layer may have filled the disk, and the program may have had its own words for it ("I/O error").
    if (full_ || disk_is_full()) {
      Error error("no space left on device");
      error.set_hint(kFullDiskHint);
      throw error;
    }
    std::string message = what;
    if (!last_.empty()) message += "; it said last:\n    " + join({last_.begin(), last_.end()}, "\n    ");
    Error error(message);
    error.set_hint("all it said is in " + path_);
    throw error;
  }

 private:
  bool disk_is_full() const {
    struct statvfs status {};
    constexpr std::uint64_t kLittle = 1 << 20;  // bytes; less than what any step writes
    return ::statvfs(work_.c_str(), &status) == 0 &&
           (status.f_bavail * status.f_frsize < kLittle || status.f_files - status.f_ffree == status.f_files);
  }

  std::uint64_t id_;
  std::string name_, path_, work_;
  Fd file_;
  std::deque<std::string> last_;
  bool full_ = false;
};

void make_new_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) fail("cannot make the folder '{}': {}", path.native(), errno_text(errno));
}

void write_new_file(const fs::path& path, std::string_view text, mode_t mode) {
  make_folder(path.parent_path());
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!file) fail("cannot write '{}': {}", path.native(), errno_text(errno));
  for (std::string_view left = text; !left.empty();) {
    const ssize_t count = ::write(file.get(), left.data(), left.size());
    if (count < 0 && errno != EINTR) fail("cannot write '{}': {}", path.native(), errno_text(errno));
    if (count > 0) left.remove_prefix(static_cast<std::size_t>(count));
  }
  if (::fchmod(file.get(), mode) != 0) fail("cannot write '{}': {}", path.native(), errno_text(errno));
}

// The files of module folders below `root`, root's own, with the modes 0755 or 0644.
void copy_module_folders(const Json& folders, const fs::path& root) {
  for (const auto& folder : folders) {
    const fs::path from = folder.at("folder").get<std::string>(), to = root / kModules / folder.at("module").get<std::string>();
    make_folder(to);
    for (const auto& name : folder.at("files")) {
      const fs::path file = name.get<std::string>();
      make_folder((to / file).parent_path());
      if (fs::is_symlink(from / file)) {
        fs::copy_symlink(from / file, to / file);
        continue;
      }
      struct stat status {};
      if (::stat((from / file).c_str(), &status) != 0) fail("cannot look at '{}': {}", (from / file).native(), errno_text(errno));
      write_new_file(to / file, read_file(from / file), (status.st_mode & 0111) != 0 ? 0755 : 0644);
    }
  }
}

// Writes the account files that the topmost layer lacks lines of.
void merge_accounts_into(const Json& layers, const fs::path& upper) {
  for (const auto& path : account_files()) {
    std::vector<AccountText> texts;
    fs::path topmost;
    for (const auto& layer : layers) {
      const auto file = place_in(layer.at("files").get<std::string>(), path);
      struct stat status {};
      if (!file || ::lstat(file->c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      topmost = *file;
      texts.push_back({layer.at("module"), read_file(*file)});
    }
    // Base and packages together are one: the packages' copy holds all lines of the base's.
    while (texts.size() > 1 && texts[0].module.empty() && texts[1].module.empty()) texts.erase(texts.begin());
    if (texts.size() < 2) continue;
    const std::string merged = merge_accounts(path, texts);
    if (merged == texts.back().text) continue;
    struct stat status {};
    if (::lstat(topmost.c_str(), &status) != 0) fail("cannot look at '{}': {}", topmost.native(), errno_text(errno));
    write_new_file(upper / path, merged, status.st_mode & 07777);
    if (::chown((upper / path).c_str(), status.st_uid, status.st_gid) != 0)
      fail("cannot give '{}' its owner: {}", (upper / path).native(), errno_text(errno));
  }
}

// The end of every step: what it made becomes what is kept.
Json finish(const Json& place, Leftovers leftovers) {
  const fs::path work = place.at("work").get<std::string>(), files = work / "fs";
  remove_leftovers(files, leftovers);
  const auto keystore = place_in(files, "etc/ssl/certs/java/cacerts");
  if (keystore && fs::is_regular_file(fs::symlink_status(*keystore))) {
    if (const auto clamped = clamp_keystore(read_file(*keystore), place.at("epoch"))) write_new_file(*keystore, *clamped, 0644);
  }
  clamp_times(files, place.at("epoch"));
  write_archive_facts(work);
  const LayerSize size = seal_layer(work);
  return {{"size_bytes", size.size_bytes}, {"files", size.files}};
}

// --- base ---

// mmdebstrap has packages linked in that were downloaded before, and links out what it downloads: those it unpacks itself are
// removed before it ends, the others are there until then. Only speed depends on it.
void share_cache(const std::string& cache, std::vector<std::string>& argv) {
  const std::string links = " -maxdepth 1 -name '*.deb' -exec ln -f -t ", folder = "\"$1\"/var/cache/apt/archives",
                    ours = shell_quote(cache);
  argv.push_back(fmt::format("--setup-hook=mkdir -p {0} && find {1}{2}{0} {{}} + || true", folder, ours, links));
  for (const char* hook : {"extract", "customize"})
    argv.push_back(fmt::format("--{}-hook=find {}{}{} {{}} + || true", hook, folder, links, ours));
}

void run_mmdebstrap(const Json& arguments, const fs::path& files, StepLog& log) {
  const fs::path work = files.parent_path();
  if (!find_program("mmdebstrap")) {
    Error error("'mmdebstrap' is not installed");
    error.set_hint("sudo apt-get install mmdebstrap");
    throw error;
  }
  make_new_folder(work / "tmp");
  std::vector<std::string> argv = {"mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
                                   "--architectures=" + arguments.at("architecture").get<std::string>(),
                                   // Nothing here is worth a sync of its own: what counts is synced when the layer is finished.
                                   "--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Retries \"3\"",
                                   // Translations, which nobody reads here.
                                   "--aptopt=Acquire::Languages \"none\"", arguments.at("suite"), files.native()};
  if (const std::string mirror = arguments.at("mirror"); !mirror.empty()) argv.push_back(mirror);
  // For this run only: the image has its distribution's own. It may lie where the user to whom apt steps down may not look.
  if (const std::string keyring = arguments.at("keyring"); !keyring.empty())
    argv.insert(argv.end(), {"--keyring=" + keyring, "--aptopt=APT::Sandbox::User \"root\""});
  // There apt's priority is less than "required", and half of what servers use is in universe.
  if (arguments.at("ubuntu").get<bool>()) argv.insert(argv.end(), {"--include=apt", "--components=main,universe"});
  if (const fs::path known = work / kKnownLists; fs::is_directory(known)) {
    argv.push_back(
        fmt::format("--setup-hook=find {} -type f -exec cp -t \"$1\"/var/lib/apt/lists {{}} + || true", shell_quote(known.native())));
  }
  // What the mirror's lists say is for the lock file (archive_facts.h); mmdebstrap's last act is to remove them.
  make_new_folder(work / "lists");
  argv.push_back("--customize-hook=cp \"$1\"/var/lib/apt/lists/*Release \"$1\"/var/lib/apt/lists/*_Packages " +
                 shell_quote((work / "lists").native()));
  share_cache(arguments.at("cache"), argv);
  const fs::path preferences = work / kPreferencesFile;
  if (fs::exists(preferences)) {
    argv.push_back(fmt::format("--setup-hook=install -D -m 644 {} \"$1\"/{}", shell_quote(preferences.native()), kBasePreferences));
  }
  ProcessOptions options;
  options.on_line = [&](std::string_view line) { log.line(line); };
  options.extra_environment = {{"TMPDIR", (work / "tmp").native()},
                               {"SOURCE_DATE_EPOCH", std::to_string(arguments.at("place").at("epoch").get<std::int64_t>())}};
  if (!run(argv, options).ok()) log.fail_step("mmdebstrap failed");
  // Settings that were for this run only.
  for (const char* name : {"etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/apt/apt.conf.d/99mmdebstrap", kBasePreferences}) {
    remove_tree(files / name);
  }
}

void unpack_image(const Json& list, const fs::path& files) {
  std::vector<oci::LayerFile> layers;
  for (const auto& layer : list)
    layers.push_back({{layer.at("media_type"), layer.at("digest"), layer.at("size_bytes")}, layer.at("file").get<std::string>()});
  oci::apply_layers(layers, files);
}

Json base_job(const Json& arguments) {
  ::umask(022);
  const Json& place = arguments.at("place");
  const fs::path files = fs::path(place.at("work").get<std::string>()) / "fs";
  StepLog log(place);
  make_new_folder(files);
  if (const std::string tarball = arguments.at("tarball"); !tarball.empty())
    untar(tarball, arguments.at("sha256"), files);
  else if (arguments.at("layers").is_array())
    unpack_image(arguments.at("layers"), files);
  else
    run_mmdebstrap(arguments, files, log);
  // Every node gets a /dev of its own; device nodes in a layer could not be made by an ordinary user.
  if (is_real_folder(files / "dev")) {
    for (const auto& entry : std::vector<fs::directory_entry>(fs::directory_iterator(files / "dev"), {})) remove_tree(entry.path());
  }
  // Where the base has a link instead, it is the base's affair where that leads.
  for (const char* folder : {"dev", "proc", "sys", "run", "tmp", "var", "var/tmp", "var/log", "root"}) {
    const auto there = place_in(files, folder);
    if (there && fs::symlink_status(*there).type() == fs::file_type::not_found) make_folder(*there);
  }
  return finish(place, Leftovers::kBase);
}

// --- scripts over layers ---

// The layers below, without the tools; lowest first.
std::vector<fs::path> folders_of_image(const Json& arguments) {
  std::vector<fs::path> folders;
  for (const auto& folder : arguments.at("lower")) folders.emplace_back(folder.get<std::string>());
  folders.resize(folders.size() - arguments.at("tools").get<std::size_t>());
  return folders;
}

std::vector<fs::path> folders_of_tools(const Json& arguments) {
  std::vector<fs::path> folders;
  for (const auto& folder : arguments.at("lower")) folders.emplace_back(folder.get<std::string>());
  folders.erase(folders.begin(), folders.end() - arguments.at("tools").get<std::ptrdiff_t>());
  return folders;
}

// What the topmost of the layers has at that path.
std::optional<fs::path> find_topmost(const std::vector<fs::path>& layers, const std::string& path) {
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    const auto place = place_in(*layer, path);
    if (place && fs::symlink_status(*place).type() != fs::file_type::not_found) return place;
  }
  return std::nullopt;
}

void take_mode_and_owner(const fs::path& from, const fs::path& to) {
  struct stat status {};
  if (::lstat(from.c_str(), &status) != 0) fail("cannot look at '{}': {}", from.native(), errno_text(errno));
  if (::chown(to.c_str(), status.st_uid, status.st_gid) != 0 || ::chmod(to.c_str(), status.st_mode & 07777) != 0)
    fail("cannot give '{}' its owner and mode: {}", to.native(), errno_text(errno));
}

// Settings of this machine: those of root's for root alone. The folders around them are as the image has them, since a script that
// writes beside them takes their modes into its layer.
void lend_files(const Json& arguments, const fs::path& scaffold) {
  const auto image = folders_of_image(arguments);
  for (const auto& [path, file] : arguments.at("lent").items()) {
    write_new_file(scaffold / path, read_file(file.get<std::string>()), path.starts_with("root/") ? 0600 : 0644);
    for (fs::path folder = fs::path(path).parent_path(); !folder.empty(); folder = folder.parent_path()) {
      const auto there = find_topmost(image, folder);
      if (there && is_real_folder(*there)) take_mode_and_owner(*there, scaffold / folder);
    }
  }
}

// Accounts that tools brought are not the image's: scripts add theirs to those below.
void hide_accounts_of_tools(const Json& arguments, const fs::path& scaffold) {
  if (arguments.at("tools") == 0) return;
  const auto image = folders_of_image(arguments);
  for (const auto& path : account_files()) {
    const auto there = find_topmost(image, path);
    if (!there || !fs::is_regular_file(fs::symlink_status(*there))) continue;
    write_new_file(scaffold / path, read_file(*there), 0600);
    take_mode_and_owner(*there, scaffold / path);
  }
}

// What scripts did to their tools, and to what was lent to them.
void forget_tools(const Json& arguments, const fs::path& files) {
  const auto remove = [&](const std::string& path) {
    if (const auto place = place_in(files, path)) remove_tree(*place);
  };
  for (const auto& [path, file] : arguments.at("lent").items()) remove(path);
  if (!arguments.at("lent").empty()) {
    for (const char* folder : kToolFolders) remove(folder);
  }
  const auto image = folders_of_image(arguments);
  for (const auto& tools : folders_of_tools(arguments)) {
    std::vector<std::string> folders;
    for (const auto& file : list_files(tools)) {
      if (file.type == 'd') {
        folders.push_back(file.path);
      } else if (const auto place = place_in(files, file.path); place && !is_real_folder(*place) && !is_account_file(file.path)) {
        remove_tree(*place);
      }
    }
    // Deepest first: those that are left empty, and are none of the image's.
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
      const auto place = place_in(files, *folder);
      if (!place || find_topmost(image, *folder)) continue;
      // A character device says that the folder was removed.
      const bool removed = fs::symlink_status(*place).type() == fs::file_type::character;
      if (removed || (is_real_folder(*place) && fs::is_empty(*place))) remove_tree(*place);
    }
  }
}

// A lowest-but-topmost layer for the time of the step: what a script needs to see and no image shall have. Nothing of it is written
// through to the layer, and no mount points are left behind, as with bind mounts.
void make_scaffold(const Json& arguments, const fs::path& scaffold) {
  make_new_folder(scaffold);
  write_new_file(scaffold / "etc/hosts", "127.0.0.1 localhost kiln\n::1 localhost\n", 0644);
  // Without the network an empty one: a look-up then fails at once.
  const bool network = arguments.at("network");
  write_new_file(scaffold / "etc/resolv.conf", network ? read_file_if_there("/etc/resolv.conf").value_or("") : "", 0644);
  lend_files(arguments, scaffold);
  hide_accounts_of_tools(arguments, scaffold);
  if (arguments.at("no_daemons").get<bool>()) write_new_file(scaffold / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0755);
  copy_module_folders(arguments.at("module_folders"), scaffold);
  clamp_times(scaffold, arguments.at("place").at("epoch"));
}

// What scripts run in: the layers, and over them what the step writes, mounted at WORK/root for as long as the cell lives.
container::ContainerSpec enter_sandbox(const Json& arguments, const fs::path& work) {
  for (const char* name : {"fs", "overlay", "root"}) make_new_folder(work / name);
  make_scaffold(arguments, work / "scaffold");
  std::vector<fs::path> lower;
  for (const auto& folder : arguments.at("lower")) lower.emplace_back(folder.get<std::string>());
  lower.push_back(work / "scaffold");

  container::ContainerSpec spec;
  spec.root = work / "root";
  container::mount_overlay(lower, work / "fs", work / "overlay", spec.root);
  spec.hostname = "kiln";
  spec.network = arguments.at("network").get<bool>() ? "host" : "";
  for (const auto& bind : arguments.at("binds")) {
    spec.binds.push_back({bind.at("from").get<std::string>(), bind.at("to").get<std::string>(), bind.at("read_only").get<bool>()});
  }
  spec.cgroup = fmt::format("/{}/{}", WorkFolder::kControlGroups, work.filename().native());
  return spec;
}

// Named after the work folder: by its control group a container is known on the whole machine.
void set_script(container::ContainerSpec& spec, const Json& script, const fs::path& work, const std::string& number) {
  spec.id = fmt::format("{}-{}", work.filename().native(), number);
  spec.argv = script.at("argv").get<std::vector<std::string>>();
  spec.directory = script.at("directory");
  spec.env = script.at("env").get<std::map<std::string, std::string>>();
}

Json run_step_job(const Json& arguments) {
  ::umask(022);
  const Json& place = arguments.at("place");
  const fs::path work = place.at("work").get<std::string>();
  StepLog log(place);
  make_new_folder(work / "fs");
  merge_accounts_into(arguments.at("accounts"), work / "fs");
  container::ContainerSpec spec = enter_sandbox(arguments, work);
  ProcessOptions options;
  options.on_line = [&](std::string_view line) { log.line(line); };
  std::size_t number = 0;
  for (const auto& script : arguments.at("scripts")) {
    const std::string what = script.at("what");
    set_script(spec, script, work, std::to_string(number));
    const std::chrono::seconds timeout(script.at("timeout").get<std::int64_t>());
    if (timeout.count() > 0) options.timeout = timeout;
    log.line("+ " + what);
    std::string failure;
    try {
      const auto result = container::run_container(spec, work / fmt::format("bundle-{}", number), options);
      if (!result.ok()) failure = fmt::format("{} failed with exit code {}", what, result.exit_code);
    } catch (const TimedOut&) {
      // What runs in the container yet ends with this cell.
      failure = fmt::format("{} did not end within {} s (`timeout:` in module.yaml)", what, timeout.count());
    }
    if (!failure.empty()) {
      try {
        write_new_file(work / kFailedScript, std::to_string(number), 0644);
      } catch (const Error&) {
        // On a full disk nobody is shown around; what failed is said all the same.
      }
      log.fail_step(failure);
    }
    ++number;
  }
  if (::umount2(spec.root.c_str(), 0) != 0) fail("cannot unmount '{}': {}", spec.root.native(), errno_text(errno));
  remove_tree(work / "fs" / kUnpackedFolder);
  forget_tools(arguments, work / "fs");
  return finish(place, static_cast<Leftovers>(arguments.at("leftovers").get<int>()));
}

// A shell instead of the script. The user's terminal, or what stands for it, is descriptor 3, 4 and 5.
Json shell_job(const Json& arguments) {
  ::umask(022);
  const fs::path work = arguments.at("place").at("work").get<std::string>();
  container::ContainerSpec spec = enter_sandbox(arguments, work);
  const Json& scripts = arguments.at("scripts");
  set_script(spec, scripts.at(arguments.at("script").get<std::size_t>()), work, "shell");
  if (arguments.at("terminal").get<bool>()) {
    spec.env["TERM"] = arguments.at("term");
    spec.env["PS1"] = "\\w \\$ ";
    // runc makes a session without a terminal; setsid makes one that has it, so that Ctrl-C and job control work.
    spec.argv = {"/bin/sh", "-c",
                 "shell=sh; command -v bash > /dev/null && shell='bash --norc'; command -v setsid > /dev/null && exec setsid -cw $shell; "
                 "exec $shell"};
  } else {
    spec.argv = {"/bin/sh"};
  }
  container::run_container_on(spec, work / "bundle-shell", {3, 4, 5});
  return Json::object();
}

// --- agent ---

Json agent_job(const Json& arguments) {
  ::umask(022);
  const Json& place = arguments.at("place");
  const fs::path upper = fs::path(place.at("work").get<std::string>()) / "fs";
  make_new_folder(upper);
  merge_accounts_into(arguments.at("accounts"), upper);
  copy_module_folders(arguments.at("module_folders"), upper);
  for (const auto& [path, text] : arguments.at("texts").items()) write_new_file(upper / path, text.get<std::string>(), 0644);
  const fs::path agent = arguments.at("agent").get<std::string>();
  write_new_file(upper / "usr/lib/kiln/kiln-node", read_file(agent), 0755);
  return finish(place, Leftovers::kModule);
}

Json compare_job(const Json& arguments) {
  Json same = Json::array();
  const auto path = [](const Json& text) { return fs::path(from_base64(text.get<std::string>()).value()); };
  for (const auto& pair : arguments.at("pairs")) same.push_back(same_file(path(pair.at(0)), path(pair.at(1))));
  return {{"same", same}};
}

const container::RegisterCellJob kBase{"bake.base", base_job};
const container::RegisterCellJob kRun{"bake.run", run_step_job};
const container::RegisterCellJob kAgent{"bake.agent", agent_job};
const container::RegisterCellJob kCompare{"bake.compare", compare_job};
const container::RegisterCellJob kShell{"bake.shell", shell_job};

}  // namespace

}  // namespace kiln::bake

// kiln sql: Spark's SQL shell on a cluster, for people at a terminal and for files of statements.
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cluster/exec.h"
#include "cluster/submit.h"

namespace kiln::cli {
namespace {

struct Options {
  std::string cluster, query, file;
  bool has_query = false;
};

// Statements come to the node as a file of its own: those that spark-sql reads from a pipe it treats as typed, goes on after one
// that failed, and ends with 0.
constexpr const char* kRunsAFile = "file=$(mktemp) && trap 'rm -f \"$file\"' EXIT && cat > \"$file\" && ";

Response run(const Options& options) {
  if (options.has_query && !options.file.empty()) fail_usage("-e and -f exclude each other");
  const bool terminal = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1 && !global_options().json;
  const bool typed = !options.has_query && options.file.empty() && terminal;
  Fd file;
  if (!options.file.empty() && options.file != "-") {
    file = Fd(::open(options.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) fail_usage("cannot open '{}': {}", options.file, errno_text(errno));
  }
  auto session = cluster::Session::open_running(options.cluster);
  const auto command = cluster::find_command(session, "spark-sql");
  cluster::ExecRequest request;
  request.user = command.user;
  request.terminal = typed;
  // At home: the catalogue is in the working folder.
  if (typed) {
    request.argv = {"sh", "-c", "cd && exec " + command.exec + " \"$@\"", "spark-sql"};
  } else if (options.has_query) {
    request.argv = {"sh", "-c", "cd && exec " + command.exec + " \"$@\"", "spark-sql", "-e", options.query};
  } else {
    request.argv = {"sh", "-c", fmt::format("cd && {}{} \"$@\" -f \"$file\"", kRunsAFile, command.exec), "spark-sql"};
  }
  const auto& own = rest().after_dashes;
  request.argv.insert(request.argv.begin() + 4, own.begin(), own.end());
  const int input = options.has_query ? -1 : file ? file.get() : STDIN_FILENO;
  const std::string master = session.masters().at(0);
  if (!global_options().json) return {{}, "", cluster::exec_on_node(session, master, request, input, print_stream)};
  std::string output, errors;
  const int code = cluster::exec_on_node(session, master, request, input,
                                         [&](char type, std::string_view bytes) { (type == 'O' ? output : errors) += bytes; });
  return {{{"cluster", options.cluster}, {"exit_code", code}, {"output", output}, {"errors", errors}}, "", code};
}

const RegisterCommand command{
    {.name = "sql",
     .group = "Work",
     .summary = "run SQL on a cluster",
     .description =
         "By Spark's own spark-sql, on the first master, on all workers: interactive at a terminal, else what -e, -f or standard\n"
         "input says, up to the first statement that fails. Results go to standard output, one row a line, with tabs between; kiln\n"
         "exits with spark-sql's code. What follows -- is spark-sql's. Tables that are to last need storage that all nodes see, such as "
         "S3.",
     .examples = {{"kiln sql demo", "a prompt"},
                  {"kiln sql demo -e 'select count(*) from parquet.`s3://bucket/in`'", "one query, or several with semicolons"},
                  {"kiln sql demo -f report.sql -- --conf spark.sql.shuffle.partitions=8", "a file of this machine"}},
     .define = [](CLI::App& app) {
       auto options = std::make_shared<Options>();
       app.add_option("NAME", options->cluster, "the cluster")->required();
       auto* query = app.add_option("-e,--execute", options->query, "these statements")->type_name("QUERY");
       app.add_option("-f,--file", options->file, "those of this file; -: of standard input")->type_name("FILE");
       return [options, query] {
         options->has_query = query->count() > 0;
         return run(*options);
       };
     }}};

}  // namespace
}  // namespace kiln::cli

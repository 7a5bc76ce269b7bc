// Applications on a cluster: what is local is carried there, the driver's output streams back, its exit code is ours.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cluster/exec.h"

namespace kiln::cluster {

struct SubmitRequest {
  std::string app;                         // a file or folder here, or a URL: local:/path (on the nodes), hdfs://…, s3a://…
  std::vector<std::string> args;           // the application's own
  std::vector<std::string> spark_options;  // passed to spark-submit; local files they name are carried too
  std::vector<std::string> carry;          // more files and folders, into the driver's working folder
  std::map<std::string, std::string> env;
  bool on_worker = false;  // --deploy-mode cluster: the driver runs on a worker
  bool quick = false;      // compile less: for short jobs
};

// What submit() will do with the words it got; apart from it so that it can be tested without a cluster.
struct SubmitPlan {
  std::vector<std::filesystem::path> uploads;  // to `folder`
  std::vector<std::filesystem::path> zips;     // folders among them that Python needs as NAME.zip (--py-files)
  std::vector<std::string> argv;               // for the module's submit command
  std::string directory;                       // where the driver runs
};
// UsageError for an application that is neither here nor a URL, a folder without __main__.py or main.py.
SubmitPlan plan_submit(const SubmitRequest& request, const std::string& folder);

// Runs it; returns the application's exit code.
int submit(Session& session, const SubmitRequest& request, const ExecOutput& output);

// The command of that name that one of the cluster's modules brings ("submit", "pyspark"), with its parameters filled in.
// UsageError listing what there is.
config::NodeCommand find_command(const Session& session, const std::string& name);

}  // namespace kiln::cluster

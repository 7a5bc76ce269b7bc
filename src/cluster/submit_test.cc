#include "cluster/submit.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"

namespace kiln::cluster {
namespace {

class PlanSubmit : public ::testing::Test {
 protected:
  std::string file(const std::string& name) {
    make_folder((folder_.path() / name).parent_path());
    write_file_atomically(folder_.path() / name, "x");
    return (folder_.path() / name).native();
  }
  std::string plan_error(const SubmitRequest& request) {
    try {
      plan_submit(request, "/job");
      return "";
    } catch (const UsageError& error) {
      return error.message() + " / " + error.hint_text();
    }
  }
  TemporaryFolder folder_;
};

TEST_F(PlanSubmit, ALocalFileIsCarriedAndItsArgumentsAreLeftAlone) {
  SubmitRequest request;
  request.app = file("job.py");
  request.args = {"--iterations", "5"};
  const auto plan = plan_submit(request, "/job");
  EXPECT_EQ(plan.argv, (std::vector<std::string>{"/job/job.py", "--iterations", "5"}));
  EXPECT_EQ(plan.uploads.size(), 1u);
}

TEST_F(PlanSubmit, UrlsStayAsTheyAre) {
  SubmitRequest request;
  request.app = "local:/opt/spark/examples/jars/spark-examples.jar";
  request.spark_options = {"--class", "X", "--jars", "s3a://bucket/a.jar"};
  const auto plan = plan_submit(request, "/job");
  EXPECT_TRUE(plan.uploads.empty());
  EXPECT_EQ(plan.argv.back(), request.app);
  EXPECT_EQ(plan.argv[3], "s3a://bucket/a.jar");
}

TEST_F(PlanSubmit, FilesInSparksOptionsAreCarriedToo) {
  SubmitRequest request;
  request.app = file("job.py");
  const auto helper = file("helper.py"), jar = file("lib/a.jar");
  request.spark_options = {"--py-files", helper + ",hdfs:///x.zip", "--jars=" + jar, "--files", helper + "#alias"};
  const auto plan = plan_submit(request, "/job");
  EXPECT_EQ(plan.argv[1], "/job/helper.py,hdfs:///x.zip");
  EXPECT_EQ(plan.argv[2], "--jars=/job/a.jar");
  EXPECT_EQ(plan.argv[4], "/job/helper.py#alias");
  EXPECT_EQ(plan.uploads.size(), 3u);  // the helper once
}

TEST_F(PlanSubmit, AFolderRunsItsMain) {
  SubmitRequest request;
  file("app/main.py");
  request.app = (folder_.path() / "app").native();
  const auto plan = plan_submit(request, "/job");
  EXPECT_EQ(plan.argv.back(), "/job/app/main.py");
  EXPECT_EQ(plan.directory, "/job/app");
}

TEST_F(PlanSubmit, APythonFolderOfHelpersBecomesAZip) {
  SubmitRequest request;
  request.app = file("job.py");
  file("tools/x.py");
  request.spark_options = {"--py-files", (folder_.path() / "tools").native()};
  const auto plan = plan_submit(request, "/job");
  EXPECT_EQ(plan.argv[1], "/job/tools.zip");
  EXPECT_EQ(plan.zips.size(), 1u);
}

TEST_F(PlanSubmit, WhatIsNotThereIsNamed) {
  SubmitRequest request;
  request.app = "/opt/app.jar";
  EXPECT_NE(plan_error(request).find("local:/opt/app.jar"), std::string::npos);
  request.app = file("empty/readme");
  request.app = (folder_.path() / "empty").native();
  EXPECT_NE(plan_error(request).find("no __main__.py"), std::string::npos);
  request.app = file("a/job.py");
  request.carry = {file("b/job.py")};
  EXPECT_NE(plan_error(request).find("the same name"), std::string::npos);
  request.carry.clear();
  request.spark_options = {"--jars"};
  EXPECT_NE(plan_error(request).find("needs a value"), std::string::npos);
}

}  // namespace
}  // namespace kiln::cluster

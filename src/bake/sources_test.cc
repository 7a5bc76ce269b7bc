// Sources against a real server on loopback: what users notice is that a cut download goes on, that a corrupt file is refused and
// named, and that nothing is fetched twice.
#include "bake/sources.h"

#include <gtest/gtest.h>

#include <thread>

#include "bake/source_kinds.h"
#include "bake/test_http_server.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"

namespace kiln::bake {
namespace {

using config::SourceLocation;
using Kind = SourceLocation::Kind;

std::string big_text() {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

class SourcesTest : public testing::Test {
 protected:
  SourceRequest request(std::vector<SourceLocation> mirrors) const {
    SourceRequest made;
    made.module = "spark";
    made.spec.name = "spark";
    made.spec.mirrors = std::move(mirrors);
    made.module_folder = folder_.path();
    made.python_version = "3.13";
    made.architecture = "amd64";
    return made;
  }
  SourceLocation url(const std::string& address, const std::string& content) const {
    SourceLocation location;
    location.what = {address};
    location.sha256 = sha256_hex(content);
    return location;
  }
  std::string content_of(const SourceRecord& record) const { return read_file(sources_.path_of(record)); }
  std::string error_of(const SourceRequest& asked) const {
    try {
      sources_.fetch(asked);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TemporaryFolder folder_;
  Store store_{folder_.path() / "home"};
  HttpOptions http_ = [] {
    HttpOptions options;
    options.attempts = 3;
    options.first_delay = std::chrono::milliseconds(1);
    return options;
  }();
  Sources sources_{store_, http_};
};

TEST_F(SourcesTest, CutDownloadGoesOnWhereItWasCut) {
  const std::string text = big_text();
  const TestHttpServer server([&](const std::string&, int nth) {
    TestAnswer answer{200, text};
    if (nth == 1) answer.cut_after = 1000;
    return answer;
  });
  const auto record = sources_.fetch(request({url(server.url("/spark.tgz?x=1"), text)}));
  EXPECT_EQ(content_of(record), text);
  EXPECT_EQ(record.name, "spark.tgz");
  EXPECT_EQ(server.requests(), (std::vector<std::string>{"GET /spark.tgz?x=1", "GET /spark.tgz?x=1 bytes=1000-"}));
}

TEST_F(SourcesTest, DownloadCutByAKilledKilnGoesOn) {
  const std::string text = big_text();
  std::atomic<bool> down = true;
  const TestHttpServer server([&](const std::string&, int nth) {
    TestAnswer answer{down && nth > 1 ? 403 : 200, text};
    if (down) answer.cut_after = 5000;
    return answer;
  });
  const auto asked = request({url(server.url("/f"), text)});
  EXPECT_NE(error_of(asked).find("403"), std::string::npos);
  down = false;
  EXPECT_EQ(content_of(sources_.fetch(asked)), text);
  EXPECT_EQ(server.requests().back(), "GET /f bytes=5000-");
}

TEST_F(SourcesTest, ServerWithoutRangesSendsAllAgain) {
  const std::string text = big_text();
  const TestHttpServer server([&](const std::string&, int nth) {
    TestAnswer answer{200, text, {}, false};
    if (nth == 1) answer.cut_after = 1000;
    return answer;
  });
  EXPECT_EQ(content_of(sources_.fetch(request({url(server.url("/f"), text)}))), text);
}

TEST_F(SourcesTest, FetchedOnceAndNeverAskedAgain) {
  const TestHttpServer server([](const std::string&, int) { return TestAnswer{200, "content"}; });
  const auto asked = request({url(server.url("/f"), "content")});
  EXPECT_FALSE(sources_.find(asked).has_value());
  const auto record = sources_.fetch(asked);
  sources_.fetch(asked);
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(sources_.find(asked)->digest, record.digest);
  // The content may be gone; what it was is still known.
  fs::remove(sources_.path_of(record));
  EXPECT_EQ(sources_.find(asked)->digest, record.digest);
  EXPECT_FALSE(sources_.is_cached(record));
}

TEST_F(SourcesTest, CorruptDownloadIsRefusedAndTheNextMirrorTried) {
  const TestHttpServer server([](const std::string& path, int) { return TestAnswer{200, path == "/good" ? "right" : "wrong"}; });
  const auto record = sources_.fetch(request({url(server.url("/bad"), "right"), url(server.url("/good"), "right")}));
  EXPECT_EQ(content_of(record), "right");
}

TEST_F(SourcesTest, CorruptDownloadEverywhereNamesUrlAndDigests) {
  const TestHttpServer server([](const std::string&, int) { return TestAnswer{200, "wrong"}; });
  const std::string error = error_of(request({url(server.url("/bad"), "right")}));
  EXPECT_NE(error.find("source 'spark' of module 'spark'"), std::string::npos) << error;
  EXPECT_NE(error.find(server.url("/bad") + "' is corrupt"), std::string::npos) << error;
  EXPECT_NE(error.find(sha256_hex("wrong")), std::string::npos) << error;
  EXPECT_NE(error.find(sha256_hex("right")), std::string::npos) << error;
  EXPECT_TRUE(fs::is_empty(store_.home() / "sources/sha256"));
  EXPECT_TRUE(fs::is_empty(store_.home() / "sources/partial"));
}

TEST_F(SourcesTest, RubbishFromAnEarlierAttemptIsThrownAway) {
  const std::string text = big_text();
  const TestHttpServer server([&](const std::string&, int) { return TestAnswer{200, text}; });
  auto asked = request({url(server.url("/f"), text)});
  const std::string part = sha256_hex(asked.spec.mirrors[0].sha256 + " ").substr(0, 32) + ".part";
  write_file_atomically(store_.folder("sources/partial") / part, "rubbish");
  EXPECT_EQ(content_of(sources_.fetch(asked)), text);
  EXPECT_EQ(server.requests(), (std::vector<std::string>{"GET /f bytes=7-", "GET /f"}));
}

TEST_F(SourcesTest, PartThatIsLongerThanTheFileIsThrownAway) {
  const TestHttpServer server([&](const std::string&, int) { return TestAnswer{200, "short"}; });
  auto asked = request({url(server.url("/f"), "short")});
  const std::string part = sha256_hex(asked.spec.mirrors[0].sha256 + " ").substr(0, 32) + ".part";
  write_file_atomically(store_.folder("sources/partial") / part, "longer than short");
  EXPECT_EQ(content_of(sources_.fetch(asked)), "short");
}

TEST_F(SourcesTest, WholePartNeedsNoNetwork) {
  auto asked = request({url("http://127.0.0.1:1/f", "whole")});
  const std::string part = sha256_hex(asked.spec.mirrors[0].sha256 + " ").substr(0, 32) + ".part";
  write_file_atomically(store_.folder("sources/partial") / part, "whole");
  EXPECT_EQ(content_of(sources_.fetch(asked)), "whole");
}

TEST_F(SourcesTest, MissingFileIsNotAskedForAgainAndNamesTheServersAnswer) {
  const TestHttpServer server([](const std::string&, int) { return TestAnswer{404, "no"}; });
  const std::string error = error_of(request({url(server.url("/gone"), "x")}));
  EXPECT_NE(error.find("404 (not found)"), std::string::npos) << error;
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(SourcesTest, TransientErrorsAreTriedAgainAndThenTold) {
  const TestHttpServer server([](const std::string& path, int nth) { return TestAnswer{path == "/never" || nth < 3 ? 503 : 200, "late"}; });
  EXPECT_EQ(content_of(sources_.fetch(request({url(server.url("/f"), "late")}))), "late");
  EXPECT_NE(error_of(request({url(server.url("/never"), "x")})).find("503"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 6u);
}

TEST_F(SourcesTest, RedirectsAreFollowed) {
  const TestHttpServer server([](const std::string& path, int) {
    if (path == "/old") return TestAnswer{302, "", {{"Location", "/new"}}};
    return TestAnswer{200, "moved"};
  });
  EXPECT_EQ(content_of(sources_.fetch(request({url(server.url("/old"), "moved")}))), "moved");
}

TEST_F(SourcesTest, TwoWhoWantTheSameFetchItOnce) {
  const std::string text = big_text();
  const TestHttpServer server([&](const std::string&, int) { return TestAnswer{200, text}; });
  const auto asked = request({url(server.url("/f"), text)});
  std::thread other([&] { Sources(store_, http_).fetch(asked); });
  sources_.fetch(asked);
  other.join();
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(SourcesTest, CredentialsAreInNoMessageAndNoRecord) {
  const TestHttpServer server([](const std::string& path, int) { return TestAnswer{path == "/f" ? 200 : 404, "content"}; });
  auto address = server.url("/f");
  address.insert(7, "user:secret@");
  const auto record = sources_.fetch(request({url(address, "content")}));
  EXPECT_EQ(record.to_json().dump().find("secret"), std::string::npos);
  EXPECT_EQ(error_of(request({url(address + "no", "content")})).find("secret"), std::string::npos);
  EXPECT_EQ(without_credentials("https://a:b@h/x@y"), "https://h/x@y");
  EXPECT_EQ(without_credentials("https://h/x@y"), "https://h/x@y");
}

TEST_F(SourcesTest, Sha512AloneIsEnough) {
  write_file_atomically(folder_.path() / "f", "content");
  SourceLocation location = url("", "");
  const TestHttpServer server([](const std::string&, int) { return TestAnswer{200, "content"}; });
  location.what = {server.url("/f")};
  location.sha256.clear();
  location.sha512 = sha512_hex_of_file(folder_.path() / "f");
  EXPECT_EQ(sources_.fetch(request({location})).digest, sha256_hex("content"));
  location.sha512[0] = location.sha512[0] == '0' ? '1' : '0';
  EXPECT_NE(error_of(request({location})).find("SHA-512"), std::string::npos);
}

TEST_F(SourcesTest, FileIsLookedAtAnewEachTime) {
  write_file_atomically(folder_.path() / "seed.txt", "one");
  SourceLocation location;
  location.kind = Kind::kFile;
  location.what = {"seed.txt"};
  const auto first = sources_.fetch(request({location}));
  EXPECT_EQ(content_of(first), "one");
  write_file_atomically(folder_.path() / "seed.txt", "two");
  const auto second = sources_.find(request({location}));
  EXPECT_NE(second->digest, first.digest);
  EXPECT_FALSE(sources_.is_cached(*second));
}

TEST_F(SourcesTest, GitTreeIsExportedAtItsRef) {
  if (!find_program("git")) GTEST_SKIP() << "git is not installed";
  const std::string repository = folder_.path() / "repository";
  make_folder(repository);
  ProcessOptions options;
  options.directory = repository;
  options.extra_environment = {{"GIT_CONFIG_GLOBAL", "/dev/null"}, {"GIT_CONFIG_NOSYSTEM", "1"}};
  const auto git = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"});
    return run_checked(arguments, options).output;
  };
  git({"init", "-q", "-b", "main"});
  write_file_atomically(repository + "/run", "one", 0755);
  git({"add", "."});
  git({"commit", "-q", "-m", "one"});
  git({"tag", "v1"});
  const std::string commit = git({"rev-parse", "HEAD"}).substr(0, 40);
  write_file_atomically(repository + "/run", "two", 0755);
  git({"commit", "-q", "-am", "two"});

  SourceLocation location;
  location.kind = Kind::kGit;
  location.what = {"file://" + repository};
  location.ref = "v1";
  const auto at_tag = sources_.fetch(request({location}));
  EXPECT_EQ(read_file(sources_.path_of(at_tag) / "run"), "one");
  EXPECT_FALSE(fs::exists(sources_.path_of(at_tag) / ".git"));
  EXPECT_NE(at_tag.from.find(commit), std::string::npos) << at_tag.from;
  location.ref = commit;
  EXPECT_EQ(sources_.fetch(request({location})).digest, at_tag.digest);
  location.ref = "main";
  EXPECT_EQ(read_file(sources_.path_of(sources_.fetch(request({location}))) / "run"), "two");
  location.ref = "v9";
  EXPECT_NE(error_of(request({location})).find("no branch, tag or commit 'v9'"), std::string::npos) << error_of(request({location}));
}

// --- PyPI ---

class PypiTest : public SourcesTest {
 protected:
  void SetUp() override {
    if (const char* before = std::getenv("PIP_INDEX_URL")) before_ = before;
  }
  void TearDown() override {
    if (before_.empty())
      ::unsetenv("PIP_INDEX_URL");
    else
      ::setenv("PIP_INDEX_URL", before_.c_str(), 1);
  }
  SourceLocation pypi(std::vector<std::string> what, bool sdist = false) const {
    SourceLocation location;
    location.kind = Kind::kPypi;
    location.what = std::move(what);
    location.sdist = sdist;
    return location;
  }
  std::string before_;
};

TEST_F(PypiTest, FilesComeByHtmlAndJsonPages) {
  const TestHttpServer server([&](const std::string& path, int) {
    if (path == "/simple/py-spark/") {
      return TestAnswer{200,
                        "<!DOCTYPE html><html><body>\n<a href=\"../../files/py_spark-4.1.1.tar.gz#sha256=" + sha256_hex("sdist") +
                            "\" data-requires-python=\"&gt;=3.9\" >py_spark-4.1.1.tar.gz</a><br/>\n"
                            "<a href=\"../../files/py_spark-4.1.0.tar.gz#sha256=" +
                            sha256_hex("old") + "\">py_spark-4.1.0.tar.gz</a></body></html>",
                        {{"Content-Type", "text/html"}}};
    }
    if (path == "/simple/six/") {
      return TestAnswer{
          200,
          R"({"meta":{"api-version":"1.0"},"name":"six","files":[{"filename":"six-1.17.0-py2.py3-none-any.whl","url":"/files/six.whl","hashes":{"sha256":")" +
              sha256_hex("wheel") + R"("},"requires-python":">=2.7, !=3.0.*","yanked":false}]})",
          {{"Content-Type", "application/vnd.pypi.simple.v1+json"}}};
    }
    if (path == "/files/py_spark-4.1.1.tar.gz") return TestAnswer{200, "sdist"};
    if (path == "/files/six.whl") return TestAnswer{200, "wheel"};
    return TestAnswer{404, ""};
  });
  ::setenv("PIP_INDEX_URL", server.url("/simple/").c_str(), 1);
  const auto sdist = sources_.fetch(request({pypi({"Py.Spark==4.1.1"}, true)}));
  EXPECT_EQ(content_of(sdist), "sdist");
  EXPECT_EQ(sdist.name, "py_spark-4.1.1.tar.gz");
  EXPECT_EQ(content_of(sources_.fetch(request({pypi({"six==1.17"})}))), "wheel");

  // Several: a folder. The index gives a digest, so a mirror that gives something else is refused as for url.
  const std::string error = error_of(request({pypi({"six==1.17.0", "py-spark==4.1.0"})}));
  EXPECT_NE(error.find("has no wheel for Python 3.13 on amd64"), std::string::npos) << error;
  const std::string none = error_of(request({pypi({"py-spark==9"})}));
  EXPECT_NE(none.find("the index has no py-spark 9 (the newest it has: 4.1.0, 4.1.1)"), std::string::npos) << none;
  EXPECT_NE(error_of(request({pypi({"py-spark"})})).find("write it as name==version"), std::string::npos);
}

IndexFile file(const std::string& name, bool yanked = false, const std::string& requires_python = "") {
  return {name, "https://example.org/" + name, sha256_hex(name), requires_python, yanked};
}

TEST(PypiChoice, TakesTheWheelThatFitsBest) {
  const std::vector<IndexFile> files = {file("numpy-2.2.6-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
                                        file("numpy-2.2.6-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"),
                                        file("numpy-2.2.6-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
                                        file("numpy-2.2.6-cp313-cp313-musllinux_1_2_x86_64.whl"),
                                        file("numpy-2.2.6-cp313-cp313t-manylinux_2_17_x86_64.whl"),
                                        file("numpy-2.2.6-cp313-cp313-macosx_14_0_x86_64.whl"),
                                        file("numpy-2.2.6-cp313-cp313-win_amd64.whl"),
                                        file("numpy-2.2.6.tar.gz")};
  const auto chosen = [&](const char* python, const char* architecture) {
    return choose_file(files, "numpy==2.2.6", false, {python, architecture}).name;
  };
  EXPECT_EQ(chosen("3.13", "amd64"), "numpy-2.2.6-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl");
  EXPECT_EQ(chosen("3.11", "amd64"), "numpy-2.2.6-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl");
  EXPECT_EQ(chosen("3.13", "arm64"), "numpy-2.2.6-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl");
  EXPECT_EQ(choose_file(files, "numpy==2.2.6", true, {"3.13", "amd64"}).name, "numpy-2.2.6.tar.gz");
  EXPECT_THROW(chosen("3.12", "amd64"), Error);
}

TEST(PypiChoice, StableAbiAndPureWheelsFitAnyLaterPython) {
  const PythonTarget target{"3.13", "amd64"};
  EXPECT_EQ(choose_file({file("x-1.0-py3-none-any.whl"), file("x-1.0-cp39-abi3-manylinux2014_x86_64.whl")}, "x==1.0", false, target).name,
            "x-1.0-cp39-abi3-manylinux2014_x86_64.whl");
  EXPECT_EQ(choose_file({file("x-1.0-py3-none-any.whl")}, "x==1.0.0", false, target).name, "x-1.0-py3-none-any.whl");
  EXPECT_THROW(choose_file({file("x-1.0-cp314-abi3-manylinux2014_x86_64.whl")}, "x==1.0", false, target), Error);
  EXPECT_THROW(choose_file({file("x-1.0-py2-none-any.whl")}, "x==1.0", false, target), Error);
}

TEST(PypiChoice, WheelForANewerCLibraryIsRefused) {
  const std::vector<IndexFile> files = {file("x-1-cp311-cp311-manylinux_2_39_x86_64.whl")};
  EXPECT_THROW(choose_file(files, "x==1", false, {"3.11", "amd64"}), Error);
}

TEST(PypiChoice, YankedOnlyWhenNothingElseIsThere) {
  const PythonTarget target{"3.13", "amd64"};
  EXPECT_EQ(choose_file({file("x-1-py3-none-any.whl", true)}, "x==1", false, target).name, "x-1-py3-none-any.whl");
  EXPECT_EQ(choose_file({file("x-1-cp313-cp313-manylinux2014_x86_64.whl", true), file("x-1-py3-none-any.whl")}, "x==1", false, target).name,
            "x-1-py3-none-any.whl");
}

TEST(PypiChoice, PythonThatIsTooOldIsNamed) {
  try {
    choose_file({file("x-1-py3-none-any.whl", false, ">=3.12")}, "x==1", false, {"3.11", "amd64"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("needs Python >=3.12"), std::string::npos) << error.what();
  }
  for (const char* fits : {">=3.9", ">=3.9,<4", "!=3.0.*,>=3", "~=3.8", ">3.8", "<=3.13"}) {
    EXPECT_NO_THROW(choose_file({file("x-1-py3-none-any.whl", false, fits)}, "x==1", false, {"3.11", "amd64"})) << fits;
  }
  for (const char* fits_not : {"<3.11", ">=3.12", "!=3.11.*", "==3.10.*", "~=2.7"}) {
    EXPECT_THROW(choose_file({file("x-1-py3-none-any.whl", false, fits_not)}, "x==1", false, {"3.11", "amd64"}), Error) << fits_not;
  }
}

TEST(PypiChoice, FileWithoutSha256IsRefused) {
  IndexFile bare = file("x-1-py3-none-any.whl");
  bare.sha256.clear();
  EXPECT_THROW(choose_file({bare}, "x==1", false, {"3.13", "amd64"}), Error);
}

TEST(PypiIndex, ReadsPagesAsTheyAreFound) {
  const auto files =
      parse_index("<a class='x' href='https://files.example.org/p/a%2Bb-1.0.zip?q=1#md5=0&amp;sha256=" + std::string(64, 'A') +
                      "' data-yanked>a</a><A HREF=\"/abs/c-1.tar.gz\" data-requires-python=\">=3.8\">c</A><a name='none'>",
                  "text/html", "https://index.example.org/simple/a/");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].name, "a+b-1.0.zip");
  EXPECT_EQ(files[0].sha256, std::string(64, 'a'));
  EXPECT_TRUE(files[0].yanked);
  EXPECT_EQ(files[1].url, "https://index.example.org/abs/c-1.tar.gz");
  EXPECT_EQ(files[1].requires_python, ">=3.8");
  EXPECT_FALSE(files[1].yanked);
}

}  // namespace
}  // namespace kiln::bake

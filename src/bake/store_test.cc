// The store: what is there after a crash, and what gc takes and leaves.
#include "bake/store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/activity.h"
#include "base/error.h"

namespace kiln::bake {
namespace {

class StoreTest : public testing::Test {
 protected:
  Layer add_layer(const std::string& name, const Json& sources = Json::object()) {
    Layer layer;
    layer.key = std::string(64 - name.size(), '0') + name;
    layer.name = name;
    layer.inputs = {{"kind", name}, {"sources", sources}};
    WorkFolder work = store_.make_work_folder();
    write(work.path() / "fs/etc/file", name);
    write(work.path() / "files", "f 1 etc/file\n");
    store_.add_layer(layer, work);
    return layer;
  }
  void write(const fs::path& path, const std::string& text) {
    make_folder(path.parent_path());
    write_file_atomically(path, text);
  }
  Image image(const std::string& name, std::vector<Layer> layers) {
    Image made;
    made.name = name;
    made.layers = std::move(layers);
    return made;
  }
  std::vector<std::string> gc(bool dry_run = false, const std::vector<std::string>& roots = {}) {
    std::vector<std::string> what;
    for (const auto& garbage : store_.collect_garbage(dry_run, roots)) what.push_back(garbage.what.substr(0, garbage.what.find(" (")));
    return what;
  }

  TemporaryFolder folder_;
  Store store_{folder_.path() / "home"};
};

TEST_F(StoreTest, EmptyStoreHasNothingAndMakesNothing) {
  EXPECT_TRUE(store_.images().empty());
  EXPECT_FALSE(store_.find_layer("x").has_value());
  EXPECT_FALSE(store_.find_image("x").has_value());
  EXPECT_TRUE(gc().empty());
  EXPECT_FALSE(fs::exists(store_.home()));
}

TEST_F(StoreTest, LayerIsThereWholeOrNotAtAll) {
  const Layer layer = add_layer("spark");
  EXPECT_EQ(read_file(store_.layer_folder(layer.key) / "etc/file"), "spark");
  EXPECT_EQ(store_.find_layer(layer.key)->name, "spark");
  EXPECT_TRUE(fs::is_empty(store_.home() / "tmp"));
  // A layer's folder without its record is what gc leaves when it is killed: no layer, and in nobody's way.
  fs::remove(store_.layer_folder(layer.key).parent_path() / "layer.json");
  EXPECT_FALSE(store_.find_layer(layer.key).has_value());
  add_layer("spark");
  EXPECT_TRUE(store_.find_layer(layer.key).has_value());
}

TEST_F(StoreTest, ImageComesBackAsItWasSaved) {
  Image saved = image("spark", {add_layer("base")});
  saved.digest = "d";
  saved.suite = "trixie";
  saved.created = 5;
  saved.spec = {{"name", "spark"}};
  config::Module manifest;
  manifest.name = "java";
  manifest.summary = "Java";
  saved.modules.push_back({manifest, {{"version", "21"}}});
  store_.save_image(saved);
  const auto loaded = store_.find_image("spark");
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->to_json(), saved.to_json());
  EXPECT_EQ(store_.images().size(), 1u);
}

TEST_F(StoreTest, DamagedRecordIsNamed) {
  write(store_.home() / "images/x.json", "{\"name\": \"x\"");
  try {
    store_.find_image("x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("images/x.json' is damaged"), std::string::npos) << error.what();
  }
}

TEST_F(StoreTest, ImageInUseIsNotRemoved) {
  store_.save_image(image("spark", {}));
  try {
    store_.remove_image("spark", {"demo"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the cluster demo uses it"), std::string::npos) << error.what();
    EXPECT_NE(error.hint_text().find("kiln destroy demo"), std::string::npos);
  }
  EXPECT_TRUE(store_.find_image("spark").has_value());
  store_.remove_image("spark", {"demo"}, true);
  EXPECT_FALSE(store_.find_image("spark").has_value());
}

TEST_F(StoreTest, UnknownImageGetsASuggestion) {
  store_.save_image(image("spark", {}));
  try {
    store_.remove_image("sparc");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.hint_text(), "did you mean 'spark'?");
  }
}

TEST_F(StoreTest, GarbageIsWhatNoImageAndNoClusterStandsOn) {
  const Layer used = add_layer("used", {{"s", "aaa"}}), of_cluster = add_layer("cluster", {{"s", "bbb"}}),
              unused = add_layer("unused", {{"s", "ccc"}});
  store_.save_image(image("spark", {used}));
  for (const char* digest : {"aaa", "bbb", "ccc"}) {
    write(store_.home() / "sources/sha256" / digest, "x");
    write(store_.home() / "sources/index" / (std::string(digest) + ".json"), Json{{"digest", digest}, {"files", Json::array()}}.dump());
  }
  write(store_.home() / "logs" / (unused.key + ".log"), "x");
  write(store_.home() / "logs" / (used.key + ".log"), "x");

  EXPECT_EQ(gc(true, {of_cluster.key}),
            (std::vector<std::string>{"layer unused", "log " + unused.key + ".log", "record of a source ccc.json", "source ccc"}));
  EXPECT_TRUE(store_.find_layer(unused.key).has_value()) << "a dry run removes nothing";
  gc(false, {of_cluster.key});
  EXPECT_FALSE(fs::exists(store_.home() / "layers" / unused.key));
  EXPECT_TRUE(store_.find_layer(used.key).has_value());
  EXPECT_TRUE(store_.find_layer(of_cluster.key).has_value());
  EXPECT_TRUE(fs::exists(store_.home() / "sources/sha256/aaa"));
  EXPECT_TRUE(fs::exists(store_.home() / "sources/index/bbb.json"));
  EXPECT_FALSE(fs::exists(store_.home() / "sources/sha256/ccc"));
  EXPECT_TRUE(gc(false, {of_cluster.key}).empty());
  EXPECT_EQ(gc(), (std::vector<std::string>{"layer cluster", "record of a source bbb.json", "source bbb"}));
}

// What SIGKILL leaves: a folder in tmp/ whose lock nobody holds, a part of a download, half an atomic write.
TEST_F(StoreTest, LeftoversOfAKilledBakeAreGarbageAndNothingElseIs) {
  const Layer layer = add_layer("used");
  store_.save_image(image("spark", {layer}));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    WorkFolder work = store_.make_work_folder();
    write(work.path() / "fs/half", "x");
    write(store_.home() / "sources/partial/a.part", "x");
    write(store_.home() / "images/spark.json.XyZ123", "{");
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(store_.images().size(), 1u);
  const WorkFolder alive = store_.make_work_folder();
  const auto found = gc();
  EXPECT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], "interrupted download a.part");
  EXPECT_EQ(found[1], "interrupted write spark.json.XyZ123");
  EXPECT_TRUE(found[2].starts_with("interrupted work"));
  EXPECT_TRUE(fs::exists(alive.path())) << "somebody works there";
  EXPECT_TRUE(gc().empty());
  EXPECT_TRUE(store_.find_layer(layer.key).has_value());
}

TEST_F(StoreTest, NoGarbageCollectionWhileABakeRuns) {
  const FileLock bake = store_.in_use();
  EXPECT_NO_THROW(store_.in_use()) << "a second bake may run";
  EXPECT_THROW(store_.collect_garbage(false, {}), Error);
}

TEST_F(StoreTest, SecondMakerWaitsAndSaysSo) {
  struct Listener : EventSink {
    void on_event(const Event& event) override { text += event.text; }
    std::string text;
  };
  const auto listener = std::make_shared<Listener>();
  add_sink(listener);
  auto first = std::make_unique<FileLock>(store_.lock("key", "layer 'spark'"));
  std::atomic<bool> got = false;
  std::thread second([&] {
    const FileLock lock = store_.lock("key", "layer 'spark'");
    got = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(got);
  first.reset();
  second.join();
  remove_sink(listener);
  EXPECT_TRUE(got);
  EXPECT_EQ(listener->text, "waiting for another kiln that makes layer 'spark'");
}

}  // namespace
}  // namespace kiln::bake

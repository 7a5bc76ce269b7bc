// What targets need and what can be begun while the image's modules are still being baked: a bake keeps one processor busy, and the
// second only at times.
// - For oci, layers are compressed as soon as they are made.
// - For disks, a machine's packages are installed as soon as there are the image's own, on which they stand.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "bake/bake.h"
#include "base/files.h"
#include "image/oci_layer.h"

namespace kiln::image {

class EarlyWork {
 public:
  struct Wanted {
    bool layers = false, machine = false;
  };
  // Nothing is made, and no thread started, before the bake tells of something.
  EarlyWork(bake::Store& store, Wanted wanted, Compression compression) : store_(store), wanted_(wanted), compression_(compression) {}
  // What is not begun is left; what is begun is waited for.
  ~EarlyWork();
  EarlyWork(const EarlyWork&) = delete;
  EarlyWork& operator=(const EarlyWork&) = delete;

  // Lets a bake with these options tell this object, which must outlive the bake.
  void listen(bake::BakeOptions& options);

  // Both until all that was begun is done. What failed is left to the target, which says why.
  void wait_for_layers();
  void wait_for_machine();

 private:
  void add_layer(const bake::Layer& layer);
  void begin_machine(const bake::Image& ground, const bake::BakeOptions& options);
  void keep_store();
  void compress_layers();

  bake::Store& store_;
  const Wanted wanted_;
  const Compression compression_;
  std::optional<FileLock> in_use_;  // gc takes nothing away meanwhile
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<bake::Layer> waiting_;
  bool busy_ = false, ended_ = false;
  std::thread compressor_;  // one: the bake goes on beside it
  std::mutex machine_lock_;
  std::thread machine_;
};

}  // namespace kiln::image

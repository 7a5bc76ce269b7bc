#include "image/early_work.h"

#include "base/error.h"
#include "image/disk.h"

namespace kiln::image {

EarlyWork::~EarlyWork() {
  {
    const std::lock_guard guard(lock_);
    ended_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  if (compressor_.joinable()) compressor_.join();
  if (machine_.joinable()) machine_.join();
}

void EarlyWork::listen(bake::BakeOptions& options) {
  if (wanted_.layers) options.on_layer = [this](const bake::Layer& layer) { add_layer(layer); };
  // A shell in a failed step's sandbox has the terminal, and the machine, for itself.
  if (wanted_.machine && options.on_error != bake::OnError::kShell)
    options.on_ground = [this, own = options](const bake::Image& ground) { begin_machine(ground, own); };
}

void EarlyWork::keep_store() {
  if (!in_use_) in_use_ = store_.in_use();
}

void EarlyWork::add_layer(const bake::Layer& layer) {
  {
    const std::lock_guard guard(lock_);
    if (!compressor_.joinable()) {
      keep_store();
      compressor_ = std::thread([this] { compress_layers(); });
    }
    waiting_.push_back(layer);
  }
  changed_.notify_all();
}

void EarlyWork::begin_machine(const bake::Image& ground, const bake::BakeOptions& options) {
  const std::lock_guard guard(lock_);
  const std::lock_guard one(machine_lock_);
  if (machine_.joinable()) return;
  keep_store();
  machine_ = std::thread([this, ground, options] {
    try {
      add_machine_packages(store_, ground, options);
    } catch (const std::exception&) {
      // The target tries again; after Ctrl-C nobody does.
    }
  });
}

void EarlyWork::wait_for_layers() {
  std::unique_lock guard(lock_);
  changed_.wait(guard, [&] { return waiting_.empty() && !busy_; });
}

void EarlyWork::wait_for_machine() {
  // Two targets may wait.
  const std::lock_guard guard(machine_lock_);
  if (machine_.joinable()) machine_.join();
}

void EarlyWork::compress_layers() {
  std::unique_lock guard(lock_);
  for (;;) {
    changed_.wait(guard, [&] { return ended_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const bake::Layer layer = std::move(waiting_.front());
    waiting_.pop_front();
    busy_ = true;
    guard.unlock();
    try {
      make_oci_layer(store_, layer, compression_);
    } catch (const std::exception&) {
      // As above.
    }
    guard.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace kiln::image

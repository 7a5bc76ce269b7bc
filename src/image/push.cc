#include "image/push.h"

#include <atomic>
#include <map>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"

namespace kiln::image {

namespace {

// A registry's disk and the line are the limits, not this many connections.
constexpr std::size_t kAtATime = 4;

}  // namespace

PushResult push_image(const bake::Store& store, const std::vector<OciImage>& images, const Reference& reference,
                      const RegistryOptions& options) {
  if (!reference.digest.empty()) fail_usage("'{}': an image is pushed to a tag, its digest comes of what is in it", reference.text());
  RegistryOptions both = options;
  both.actions = "pull,push";
  oci::Registry registry(reference, both);
  std::map<std::string, std::int64_t> blobs;  // by digest: two layers may be the same
  for (const auto& image : images) {
    blobs[image.config.digest] = image.config.size_bytes;
    for (const auto& layer : image.layers) blobs[layer.blob.digest] = layer.blob.size_bytes;
  }
  const std::vector<std::pair<std::string, std::int64_t>> all(blobs.begin(), blobs.end());
  std::atomic<std::size_t> sent{0};
  std::atomic<std::int64_t> sent_bytes{0};
  parallel_for(all.size(), kAtATime, [&](std::size_t index) {
    const std::string& digest = all[index].first;
    const std::int64_t size_bytes = all[index].second;
    if (registry.has_blob(digest)) return;
    Activity activity("push " + digest.substr(0, 19), {{"size_bytes", size_bytes}});
    registry.push_blob(digest, blob_file(store, digest), [&](std::int64_t done) {
      activity.progress({{"done", done}}, fmt::format("{} of {}", human_size(static_cast<std::uintmax_t>(done)),
                                                      human_size(static_cast<std::uintmax_t>(size_bytes))));
    });
    ++sent;
    sent_bytes += size_bytes;
  });
  PushResult result;
  const auto push_manifest = [&](const Blob& blob, const std::string& name) {
    registry.push_manifest(name, blob.media_type, read_file(blob_file(store, blob.digest)));
    result.digest = blob.digest;
  };
  if (images.size() == 1) {
    push_manifest(images[0].manifest, reference.tag);
  } else {
    const OciIndex index = make_oci_index(store, images);
    for (const auto& image : images) push_manifest(image.manifest, image.manifest.digest);
    push_manifest(index.index, reference.tag);
  }
  result.sent = sent;
  result.present = all.size() - sent;
  result.sent_bytes = sent_bytes;
  return result;
}

}  // namespace kiln::image

#include "data/loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "data/split.h"
#include "engine/core/error.h"

namespace sculpt::data {
namespace {

constexpr int kSlots = 3;  // one slot in use by the caller, two prepared ahead

std::vector<uint8_t> mean_pixel(const Normalization& normalization) {
  std::vector<uint8_t> pixel;
  for (const float mean : normalization.mean) {
    pixel.push_back(static_cast<uint8_t>(std::lround(std::clamp(mean, 0.f, 1.f) * 255.f)));
  }
  return pixel;
}

/// Throws Error if an image cannot be mirrored at its border for as many pixels as it is padded by.
void require_padding_inside(const AugmentOptions& options, const ImageShape& shape) {
  const int64_t side = std::min(shape.height, shape.width);
  if (options.crop_fill == kernels::CropFill::reflect && options.crop_padding >= side)
    fail(
        "data.crop_fill = \"reflect\" mirrors an image of {}x{} for at most {} pixels; lower "
        "data.crop_padding, which is {}",
        shape.height, shape.width, side - 1, options.crop_padding);
}

}  // namespace

Loader::Loader(Subset subset, const LoaderOptions& options)
    : subset_(std::move(subset)),
      options_(options),
      mean_pixel_(mean_pixel(subset_.dataset->normalization)),
      slots_(kSlots),
      prefetcher_(kSlots, [this](int64_t step, int slot) {
        fill(step, slots_[static_cast<size_t>(slot)]);
      }) {
  if (options_.batch < 1) fail("the batch size is {}; it must be 1 or more", options_.batch);
}

void Loader::start_epoch(int64_t epoch, int64_t first_step) {
  if (epoch < 0 || first_step < 0 || first_step > steps_per_epoch()) {
    fail("epoch {}, step {} is not in the training set: an epoch has {} steps", epoch, first_step,
         steps_per_epoch());
  }
  prefetcher_.pause();
  if (epoch != epoch_) order_.clear();
  epoch_ = epoch;
  prefetcher_.start(first_step, steps_per_epoch());
}

Batch Loader::next() {
  SCULPT_CHECK(epoch_ >= 0, "next() before start_epoch()");
  const int slot = prefetcher_.next();
  if (slot < 0) return {};
  const Slot& ready = slots_[static_cast<size_t>(slot)];
  return {ready.images.data(), ready.labels.data(), std::ssize(ready.labels),
          options_.ranks > 1 ? ready.whole : 0};
}

std::optional<ResidentImages> Loader::resident() const {
  const Dataset& set = *subset_.dataset;
  return ResidentImages{set.images.data(), set.labels.data(), set.size(),
                        augment_rule(options_.augment, options_.seed), mean_pixel_};
}

std::vector<int32_t> Loader::epoch_images(int64_t epoch) const {
  if (!options_.shuffle) return subset_.indices;
  std::vector<int32_t> images;
  for (const int32_t position : epoch_order(size(), options_.seed, epoch))
    images.push_back(subset_.indices[static_cast<size_t>(position)]);
  return images;
}

void Loader::fill(int64_t step, Slot& slot) {
  if (options_.shuffle && order_.empty()) order_ = epoch_order(size(), options_.seed, epoch_);
  const int64_t begin = step * options_.batch;
  slot.whole = std::min(options_.batch, images_per_epoch() - begin);
  slot.images.clear();
  slot.labels.clear();
  const int64_t largest = options_.images_at_a_time > 0 ? options_.images_at_a_time : slot.whole;
  const auto parts = static_cast<int>((slot.whole + largest - 1) / largest);
  for (int index = 0; index < parts; ++index) {
    const Share own = share_of_part(slot.whole, {index, parts}, options_.rank, options_.ranks);
    for (int64_t k = 0; k < own.count; ++k)
      append(begin + own.first + k, slot);
  }
}

/// Appends the image at a position of the epoch.
void Loader::append(int64_t position, Slot& slot) {
  const Dataset& set = *subset_.dataset;
  const auto at =
      static_cast<size_t>(options_.shuffle ? order_[static_cast<size_t>(position)] : position);
  const int32_t index = subset_.indices[at];
  const auto size = static_cast<size_t>(set.shape.count());
  slot.images.resize(slot.images.size() + size);
  uint8_t* const out = slot.images.data() + slot.images.size() - size;
  if (options_.augment.any()) {
    const Augmentation draw =
        draw_augmentation(options_.augment, set.shape, options_.seed, epoch_, index);
    augment(out, set.image(index), set.shape, options_.augment, draw, mean_pixel_.data());
  } else {
    std::memcpy(out, set.image(index), size);
  }
  slot.labels.push_back(set.labels[static_cast<size_t>(index)]);
}

std::unique_ptr<BatchSource> make_train_loader(const Subset& subset, const DataOptions& options,
                                               const LoaderOptions& loader) {
  const bool flip = options.flip && subset.dataset->mirror_safe;
  LoaderOptions made = loader;
  made.shuffle = true;
  made.augment = {options.crop_padding, flip, options.cutout, find_crop_fill(options.crop_fill)};
  require_padding_inside(made.augment, subset.dataset->shape);
  return std::make_unique<Loader>(subset, made);
}

std::unique_ptr<BatchSource> make_eval_loader(const Subset& subset, const LoaderOptions& loader) {
  LoaderOptions made = loader;
  made.shuffle = false;
  made.augment = {};
  made.drop_last = false;
  return std::make_unique<Loader>(subset, made);
}

}  // namespace sculpt::data

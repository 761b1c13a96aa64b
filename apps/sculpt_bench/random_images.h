#pragma once
// A source of one batch of noise that repeats, for timing. A device keeps the batch in its memory,
// as training does with its data set.

#include <vector>

#include "engine/core/batch_source.h"

namespace sculpt::bench {

class RandomImages final : public BatchSource {
 public:
  RandomImages(ImageShape shape, int64_t classes, int64_t batch);

  ImageShape image_shape() const override { return shape_; }
  int64_t classes() const override { return classes_; }
  const Normalization& normalization() const override { return normalization_; }
  int64_t size() const override { return kSteps * batch_; }
  int64_t batch_size() const override { return batch_; }
  void start_epoch(int64_t, int64_t first_step) override { step_ = first_step; }
  Batch next() override {
    if (step_++ >= kSteps) return {};
    return {images_.data(), labels_.data(), batch_};
  }
  std::optional<ResidentImages> resident() const override {
    return ResidentImages{images_.data(), labels_.data(), batch_, {}, {0, 0, 0}};
  }
  std::vector<int32_t> epoch_images(int64_t) const override {
    std::vector<int32_t> order(static_cast<size_t>(size()));
    for (size_t i = 0; i < order.size(); ++i)
      order[i] = static_cast<int32_t>(i % labels_.size());
    return order;
  }

 private:
  static constexpr int64_t kSteps = 100;  // steps of an epoch

  ImageShape shape_;
  int64_t classes_, batch_, step_ = 0;
  Normalization normalization_{{0.49f, 0.48f, 0.45f}, {0.25f, 0.24f, 0.26f}};
  std::vector<uint8_t> images_;
  std::vector<int32_t> labels_;
};

}  // namespace sculpt::bench

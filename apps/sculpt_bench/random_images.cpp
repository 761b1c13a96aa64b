#include "apps/sculpt_bench/random_images.h"

#include "engine/core/random.h"

namespace sculpt::bench {

RandomImages::RandomImages(ImageShape shape, int64_t classes, int64_t batch)
    : shape_(shape), classes_(classes), batch_(batch) {
  const RandomStream stream(1, Purpose::test);
  images_.resize(static_cast<size_t>(batch * shape.count()));
  for (size_t i = 0; i < images_.size(); ++i)
    images_[i] = static_cast<uint8_t>(stream.word(i));
  for (int64_t i = 0; i < batch; ++i)
    labels_.push_back(static_cast<int32_t>(i % classes));
}

}  // namespace sculpt::bench

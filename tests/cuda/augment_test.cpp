// Augmentation on the device against data/transforms/augment.h on the host: the same images, bit
// for bit.

#include "data/transforms/augment.h"

#include <fmt/format.h>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using sculpt::ImageShape;
using sculpt::data::AugmentOptions;

std::vector<uint8_t> random_bytes(int64_t count, uint64_t seed) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<uint8_t>(sculpt::philox4x32(seed, i, 1)[0]);
  return bytes;
}

TEST_CASE("resident training set: batches are those of the host") {
  const Backend& backend = *tested_backends().front();
  constexpr int64_t kImages = 23, kEpoch = 3;
  constexpr uint64_t kSeed = 11;
  const std::vector<int32_t> order = {8, 3, 5, 22, 0, 5, 17, 9, 1};
  constexpr int64_t kFirst = 2;
  const int64_t count = std::ssize(order) - kFirst;
  const Launch launch = make_launch(backend, count);
  DeviceCopy batch(backend, std::vector<ResidentBatch>{{kEpoch, kFirst}});
  const std::vector<float> mean = {0.49f, 0.45f, 0.4f}, std = {0.2f, 0.25f, 0.3f};
  const std::vector<uint8_t> fill = {125, 10, 99};
  DeviceCopy means(backend, mean), stds(backend, std);
  for (const ImageShape size : {ImageShape{3, 32, 32}, ImageShape{1, 7, 5}, ImageShape{2, 3, 19}}) {
    const ActivationShape shape = {size.channels, size.height, size.width, 0};
    const auto images = random_bytes(kImages * size.count(), 1);
    std::vector<int32_t> labels(kImages);
    for (size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<int32_t>(100 + i);
    for (const AugmentOptions options :
         {AugmentOptions{0, false, 0}, AugmentOptions{4, true, 0}, AugmentOptions{2, true, 5},
          AugmentOptions{0, false, 8}, AugmentOptions{12, true, 40},
          AugmentOptions{4, true, 0, CropFill::mean}, AugmentOptions{12, false, 5, CropFill::mean},
          AugmentOptions{1, true, 3, CropFill::reflect},
          AugmentOptions{1, false, 0, CropFill::reflect}}) {
      CAPTURE(fmt::format("{}x{}x{} padding {} flip {} cutout {}", size.channels, size.height,
                          size.width, options.crop_padding, options.flip, options.cutout));
      std::vector<uint8_t> augmented(static_cast<size_t>(count * size.count()));
      for (int64_t n = 0; n < count; ++n) {
        const int32_t image = order[static_cast<size_t>(kFirst + n)];
        const auto draw = sculpt::data::draw_augmentation(options, size, kSeed, kEpoch, image);
        sculpt::data::augment(augmented.data() + n * size.count(),
                              images.data() + image * size.count(), size, options, draw,
                              fill.data());
      }
      DeviceCopy pixels(backend, augmented);
      Activation expected(backend, shape, launch);
      backend.input.load_u8(expected.data(), pixels.data(), means.data(), stds.data(), shape,
                            launch);

      DeviceCopy set_images(backend, images), device_fill(backend, fill);
      DeviceCopy set_labels(backend, labels), device_order(backend, order);
      DeviceCopy batch_labels(backend, std::vector<int32_t>(static_cast<size_t>(count + 1), -1));
      const ResidentSet set = {set_images.data(),
                               set_labels.data(),
                               device_order.data(),
                               device_fill.data(),
                               means.data(),
                               stds.data(),
                               sculpt::data::augment_rule(options, kSeed)};
      Activation x(backend, shape, launch);
      backend.input.load_resident(x.data(), batch_labels.data(), set, batch.data(), shape, launch);
      CHECK(x.nchw() == expected.nchw());
      CHECK(x.frame_intact());
      const auto got = batch_labels.values();
      for (size_t n = 0; n < static_cast<size_t>(count); ++n)
        CHECK(got[n] == 100 + order[kFirst + n]);
      CHECK(got.back() == -1);
    }
  }
}

}  // namespace

#include "data/loader.h"

#include <atomic>
#include <chrono>
#include <doctest/doctest.h>
#include <set>
#include <thread>
#include <vector>

#include "data/split.h"
#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

using test::everything;
using test::random_set;

constexpr ImageShape kShape{3, 8, 6};

struct Copy {
  std::vector<uint8_t> images;
  std::vector<int32_t> labels;
  bool operator==(const Copy&) const = default;
};

/// Batches from `first_step` to the end of the epoch.
std::vector<Copy> batches(BatchSource& source, int64_t epoch, int64_t first_step = 0) {
  std::vector<Copy> list;
  source.start_epoch(epoch, first_step);
  for (Batch b = source.next(); b.count > 0; b = source.next()) {
    list.push_back({{b.images, b.images + b.count * source.image_shape().count()},
                    {b.labels, b.labels + b.count}});
  }
  return list;
}

Subset odd_subset() {
  Subset subset = everything(random_set(120, kShape, 10, 1));
  subset.indices.erase(subset.indices.begin() + 10, subset.indices.begin() + 17);
  return subset;
}

LoaderOptions training(int64_t batch, uint64_t seed) {
  return {batch, seed, true, {2, true, 3}};
}

TEST_CASE("loader: drop_last leaves out the last batch, and other images in each epoch") {
  const Subset subset = odd_subset();
  Loader whole(subset, {16, 3, true, {}}), loader(subset, {16, 3, true, {}, true});
  CHECK(loader.size() == 113);
  CHECK(loader.images_per_epoch() == 112);
  CHECK(loader.steps_per_epoch() == 7);
  std::set<std::vector<uint8_t>> left_out;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    auto expected = batches(whole, epoch);
    left_out.insert(expected.back().images);
    expected.pop_back();
    CHECK(batches(loader, epoch) == expected);
  }
  CHECK(left_out.size() == 3);
  // No image is left out if all batches are whole.
  CHECK(Loader(subset, {113, 3, true, {}, true}).steps_per_epoch() == 1);
}

TEST_CASE("loader: an epoch holds every image once, the last batch is short") {
  const Subset subset = odd_subset();
  Loader loader(subset, {16, 3, true, {}});
  CHECK(loader.size() == 113);
  CHECK(loader.steps_per_epoch() == 8);
  std::vector<std::vector<Copy>> epochs;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto list = batches(loader, epoch);
    REQUIRE(list.size() == 8);
    const auto order = epoch_order(113, 3, epoch);
    std::set<int32_t> seen;
    for (size_t p = 0; p < order.size(); ++p) {
      const int32_t index = subset.indices[static_cast<size_t>(order[p])];
      seen.insert(index);
      const Copy& b = list[p / 16];
      REQUIRE(std::equal(subset.dataset->image(index),
                         subset.dataset->image(index) + kShape.count(),
                         b.images.begin() + static_cast<std::ptrdiff_t>(p % 16) * kShape.count()));
      REQUIRE(b.labels[p % 16] == subset.dataset->labels[static_cast<size_t>(index)]);
    }
    CHECK(seen.size() == 113);
    CHECK(list.back().labels.size() == 1);
    epochs.push_back(list);
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] != epochs[2]);
}

TEST_CASE("loader: training batches are augmented by seed, epoch and number in the data set") {
  const Subset subset = odd_subset();
  const LoaderOptions options = training(10, 8);
  Loader loader(subset, options);
  const std::vector<uint8_t> mean(3, 102);  // round(0.4 * 255)
  for (const int64_t epoch : {int64_t{0}, int64_t{5}}) {
    const auto list = batches(loader, epoch);
    const auto order = epoch_order(113, 8, epoch);
    for (size_t p = 0; p < order.size(); ++p) {
      const int32_t index = subset.indices[static_cast<size_t>(order[p])];
      std::vector<uint8_t> expected(static_cast<size_t>(kShape.count()));
      augment(expected.data(), subset.dataset->image(index), kShape, options.augment,
              draw_augmentation(options.augment, kShape, 8, epoch, index), mean.data());
      REQUIRE(std::equal(
          expected.begin(), expected.end(),
          list[p / 10].images.begin() + static_cast<std::ptrdiff_t>(p % 10) * kShape.count()));
    }
  }
}

TEST_CASE("loader: a start inside an epoch continues the same stream, byte for byte") {
  Loader whole(odd_subset(), training(9, 4));
  const auto reference = batches(whole, 2);
  REQUIRE(reference.size() == 13);
  Loader used(odd_subset(), training(9, 4));
  for (int64_t step = 0; step <= 13; ++step) {
    Loader fresh(odd_subset(), training(9, 4));
    for (Loader* loader : {&fresh, &used}) {
      const auto rest = batches(*loader, 2, step);
      CHECK(rest == std::vector<Copy>(reference.begin() + step, reference.end()));
    }
    // The loader leaves an epoch in the middle, with batches prepared, before the next turn.
    used.start_epoch(step, 1);
    CHECK(used.next().count == 9);
  }
}

TEST_CASE("loader: the shares of the ranks, one after another, are the whole batches") {
  const Subset subset = odd_subset();
  const auto expected = [&] {
    Loader whole(subset, training(16, 5));
    return batches(whole, 2);
  }();
  for (const int ranks : {2, 3, 20}) {  // the last batch has one image, which one rank gets
    CAPTURE(ranks);
    std::vector<Copy> joined(expected.size());
    for (int rank = 0; rank < ranks; ++rank) {
      LoaderOptions options = training(16, 5);
      options.rank = rank;
      options.ranks = ranks;
      Loader loader(subset, options);
      loader.start_epoch(2, 0);
      for (size_t step = 0; step < expected.size(); ++step) {
        const Batch part = loader.next();
        CHECK(part.whole_count() == std::ssize(expected[step].labels));
        joined[step].labels.insert(joined[step].labels.end(), part.labels,
                                   part.labels + part.count);
        joined[step].images.insert(joined[step].images.end(), part.images,
                                   part.images + part.count * kShape.count());
      }
      CHECK(loader.next().whole_count() == 0);
    }
    CHECK(joined == expected);
  }
}

TEST_CASE("loader: a rank's images of a batch that is computed in parts") {
  const Subset subset = odd_subset();
  constexpr int kRanks = 3;
  std::vector<Copy> expected = [&] {
    Loader whole(subset, training(16, 5));
    return batches(whole, 2);
  }();
  // 16 images in parts of 6, 5 and 5; a last batch of one image in one part.
  std::vector<Copy> joined(expected.size());
  std::vector<std::vector<Copy>> of_rank;
  for (int rank = 0; rank < kRanks; ++rank) {
    LoaderOptions options = training(16, 5);
    options.rank = rank;
    options.ranks = kRanks;
    options.images_at_a_time = 6;
    Loader loader(subset, options);
    loader.start_epoch(2, 0);
    std::vector<Copy>& copies = of_rank.emplace_back();
    for (Batch part = loader.next(); part.whole_count() > 0; part = loader.next())
      copies.push_back({{part.images, part.images + part.count * kShape.count()},
                        {part.labels, part.labels + part.count}});
  }
  for (size_t step = 0; step < expected.size(); ++step) {
    const auto images = std::ssize(expected[step].labels);
    const int parts = images > 6 ? 3 : 1;
    std::vector<int64_t> used(kRanks, 0);
    for (int index = 0; index < parts; ++index)
      for (int rank = 0; rank < kRanks; ++rank) {
        const Copy& copy = of_rank[static_cast<size_t>(rank)].at(step);
        int64_t& at = used[static_cast<size_t>(rank)];
        CHECK(at == images_before(images, {index, parts}, rank, kRanks));
        const int64_t count = share_of_part(images, {index, parts}, rank, kRanks).count;
        joined[step].labels.insert(joined[step].labels.end(), copy.labels.begin() + at,
                                   copy.labels.begin() + at + count);
        joined[step].images.insert(joined[step].images.end(),
                                   copy.images.begin() + at * kShape.count(),
                                   copy.images.begin() + (at + count) * kShape.count());
        at += count;
      }
    for (int rank = 0; rank < kRanks; ++rank)
      CHECK(used[static_cast<size_t>(rank)] ==
            std::ssize(of_rank[static_cast<size_t>(rank)].at(step).labels));
  }
  CHECK(joined == expected);
}

TEST_CASE("loader: evaluation keeps the order and touches no pixel") {
  const Subset subset = odd_subset();
  const auto loader = make_eval_loader(subset, {.batch = 50});
  for (const int64_t epoch : {int64_t{0}, int64_t{1}}) {
    const auto list = batches(*loader, epoch);
    REQUIRE(list.size() == 3);
    for (size_t p = 0; p < subset.indices.size(); ++p) {
      const uint8_t* image = subset.dataset->image(subset.indices[p]);
      REQUIRE(std::equal(
          image, image + kShape.count(),
          list[p / 50].images.begin() + static_cast<std::ptrdiff_t>(p % 50) * kShape.count()));
    }
  }
}

TEST_CASE("loader: digits are never mirrored, other images are") {
  for (const bool mirror_safe : {true, false}) {
    Dataset set = random_set(64, kShape, 10, 3);
    set.mirror_safe = mirror_safe;
    const Subset subset = everything(std::move(set));
    DataOptions options;
    options.crop_padding = 0;
    const auto loader = make_train_loader(subset, options, {.batch = 64, .seed = 1});
    const auto list = batches(*loader, 0);
    const auto order = epoch_order(64, 1, 0);
    int changed = 0;
    for (size_t p = 0; p < 64; ++p) {
      const uint8_t* image = subset.dataset->image(order[p]);
      changed +=
          !std::equal(image, image + kShape.count(),
                      list[0].images.begin() + static_cast<std::ptrdiff_t>(p) * kShape.count());
    }
    CHECK((mirror_safe ? changed > 16 && changed < 48 : changed == 0));
  }
}

TEST_CASE("loader: a batch stays valid until the next call while others are prepared") {
  Loader loader(odd_subset(), training(7, 2));
  const auto reference = batches(loader, 0);
  loader.start_epoch(0, 0);
  for (const Copy& expected : reference) {
    const Batch b = loader.next();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(std::equal(expected.images.begin(), expected.images.end(), b.images));
  }
  CHECK(loader.next().count == 0);
  CHECK(loader.next().count == 0);
}

TEST_CASE("loader: bad arguments are errors; empty sets and huge batches are not") {
  CHECK_THROWS_AS(Loader(odd_subset(), {0, 1, true, {}}), Error);
  Loader loader(odd_subset(), training(16, 1));
  CHECK_THROWS_AS(loader.next(), Error);
  CHECK_THROWS_AS(loader.start_epoch(0, 9), Error);
  CHECK_THROWS_AS(loader.start_epoch(0, -1), Error);
  CHECK_THROWS_AS(loader.start_epoch(-1, 0), Error);
  Subset empty = odd_subset();
  empty.indices.clear();
  Loader none(empty, training(16, 1));
  CHECK(none.steps_per_epoch() == 0);
  CHECK(batches(none, 0).empty());
  Loader one(odd_subset(), training(1000, 1));
  CHECK(batches(one, 0).size() == 1);
}

TEST_CASE("loader: the prefetcher rethrows its thread's exception at the step it belongs to") {
  std::atomic<int> calls{0};
  Prefetcher prefetcher(3, [&](int64_t step, int) {
    ++calls;
    if (step == 2) fail("step {} is broken", step);
  });
  prefetcher.start(0, 5);
  CHECK(prefetcher.next() == 0);
  CHECK(prefetcher.next() == 1);
  CHECK(test::error_of([&] { prefetcher.next(); }) == "step 2 is broken");
  CHECK(test::error_of([&] { prefetcher.next(); }) == "step 2 is broken");
  CHECK(calls == 3);
  prefetcher.start(3, 5);
  CHECK(prefetcher.next() == 0);
  CHECK(prefetcher.next() == 1);
  CHECK(prefetcher.next() == -1);
}

TEST_CASE(
    "loader: the prefetcher works ahead, but never into the slot in use, and stops when told") {
  std::atomic<int64_t> last{-1};
  const auto settle = [&](int64_t step) {  // wait for it, then see that it goes no further
    for (int i = 0; i < 5000 && last < step; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return last == step;
  };
  Prefetcher prefetcher(3, [&](int64_t step, int) { last = step; });
  prefetcher.start(0, 100);
  CHECK(settle(1));
  CHECK(prefetcher.next() == 0);
  CHECK(settle(2));
  CHECK(prefetcher.next() == 1);
  CHECK(settle(3));
  prefetcher.pause();
  CHECK(prefetcher.next() == -1);
  for (int round = 0; round < 200; ++round) {
    prefetcher.start(round, round + 4);
    CHECK(prefetcher.next() == round % 3);
  }

  // pause() and start() wait for a fill that is under way.
  std::atomic<bool> inside{false};
  std::atomic<int> fills{0};
  Prefetcher slow(2, [&](int64_t, int) {
    ++fills;
    inside = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    inside = false;
  });
  for (int round = 0; round < 3; ++round) {
    slow.start(0, 1);
    while (!inside)
      std::this_thread::yield();
    slow.pause();
    CHECK_FALSE(inside);
    CHECK(slow.next() == -1);
    CHECK(fills == round + 1);
  }
  for (int round = 0; round < 100; ++round) {  // destroyed at any moment
    Prefetcher brief(2, [](int64_t, int) {});
    brief.start(0, 10);
    if (round % 2 == 0) CHECK(brief.next() == 0);
  }
}

}  // namespace
}  // namespace sculpt::data

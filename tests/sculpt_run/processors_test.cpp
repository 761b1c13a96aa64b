// The processors that ranks of a machine share.

#include "apps/sculpt_run/processors.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <limits>

using namespace sculpt;

namespace {

constexpr int kNoLimit = std::numeric_limits<int>::max();

using Masks = std::vector<std::vector<int>>;

}  // namespace

TEST_CASE("processors: ranks that may use all of them share them") {
  const Masks masks(2, {0, 1, 2, 3, 4});
  for (const size_t rank : {0, 1}) {
    const SharedProcessors shared = share_processors(masks, rank, kNoLimit);
    CHECK(shared.of_all == 5);
    CHECK(shared.of_rank == 2);
  }
  CHECK(share_processors(Masks(3, {0, 1}), 2, kNoLimit).of_rank == 1);  // never none
  CHECK(share_processors(Masks(3, {0, 1, 2}), 1, kNoLimit).of_rank == 1);
}

TEST_CASE("processors: ranks that are bound have their own") {
  const Masks masks = {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}};
  CHECK(share_processors(masks, 0, kNoLimit).of_all == 10);
  CHECK(share_processors(masks, 0, kNoLimit).of_rank == 4);
  CHECK(share_processors(masks, 2, kNoLimit).of_rank == 2);
  // Processors 2 and 3 belong to two ranks.
  const Masks overlapping = {{0, 1, 2, 3}, {2, 3}};
  CHECK(share_processors(overlapping, 0, kNoLimit).of_rank == 3);
  CHECK(share_processors(overlapping, 1, kNoLimit).of_rank == 1);
  CHECK(share_processors(overlapping, 1, kNoLimit).of_all == 4);
}

TEST_CASE("processors: a container that grants less time limits all ranks together") {
  const SharedProcessors shared = share_processors(Masks(2, {0, 1, 2, 3, 4, 5, 6, 7}), 0, 4);
  CHECK(shared.of_all == 4);
  CHECK(shared.of_rank == 2);
}

TEST_CASE("processors: warnings name what to change") {
  CHECK(too_many_threads(1, 2, 2).empty());
  CHECK(too_many_threads(2, 4, 8).empty());
  CHECK(too_many_threads(1, 4, 2).starts_with(
      "4 threads share 2 processors, so steps take longer than with --threads 2; "));
  CHECK(too_many_threads(2, 4, 4).starts_with(
      "2 ranks with 4 threads each share 4 processors, so steps take longer than with --threads "
      "2; "));
  CHECK(too_many_threads(4, 1, 2) ==
        "4 ranks with 1 thread each share 2 processors, so steps take longer than on 2 ranks with "
        "--threads 1");
  CHECK(too_many_threads(3, 1, 1).ends_with("than on 1 rank with --threads 1"));
}

TEST_CASE("processors: this process has some") {
  const std::vector<int> processors = processors_of_affinity();
  CHECK(!processors.empty());
  CHECK(granted_processors() >= 1);
  CHECK(std::ranges::is_sorted(processors));
}

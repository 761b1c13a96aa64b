// The splits of tests/golden/splits.json: tools/splits.py chooses the same images, so that tools in
// Python measure a checkpoint on the images that its run held out.

#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/split.h"
#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

using Indices = std::vector<int32_t>;

/// The beginning of a list, as long as the golden one.
Indices beginning(const Indices& list, size_t count) {
  REQUIRE(list.size() >= count);
  return Indices(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count));
}

TEST_CASE("split: splits are those of the golden file") {
  std::ifstream in("tests/golden/splits.json");
  REQUIRE(in.good());
  const auto cases = nlohmann::json::parse(in);
  CHECK(cases.size() >= 6);
  for (const auto& test : cases) {
    CAPTURE(test.dump().substr(0, 120));
    DataOptions options;
    options.val_split = test["val_split"];
    options.train_limit = test["train_limit"];
    options.test_limit = test["test_limit"];
    const DataSplits splits = split({test::random_set(test["train_size"], {1, 1, 1}, 10, 1),
                                     test::random_set(test["test_size"], {1, 1, 1}, 10, 2)},
                                    options, test["seed"].get<uint64_t>());
    CHECK(splits.val.indices == test["val"].get<Indices>());
    const auto train = test["train"].get<Indices>(), held = test["test"].get<Indices>();
    CHECK(splits.train.size() == test["train_count"]);
    CHECK(splits.test.size() == test["test_count"]);
    CHECK(beginning(splits.train.indices, train.size()) == train);
    CHECK(beginning(splits.test.indices, held.size()) == held);
  }
}

}  // namespace
}  // namespace sculpt::data

// Runs whose cycles have rules that change masks, on several ranks.

#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "tests/support/rule_runs.h"
#include "tests/support/thread_ranks.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("mask rules: the masks are the same on any number of ranks") {
  constexpr int64_t kEpochs = 4;
  struct End {
    std::vector<uint8_t> masks;
    std::vector<float> weights;
  };
  for (const RuleCase& test : rule_cases())
    for (const std::string sparse : {"on", "off"}) {
      CAPTURE(test.rule.name);
      CAPTURE(sparse);
      TrainOptions options = TinyRun::tiny_options();
      options.execution.sparse = sparse;
      const TemporaryFolder folder;
      const auto train = [&](Communicator& rank, const std::filesystem::path& place) {
        TinyRun run =
            run_of(place, plan_of(test, Cycle{kEpochs}), options_of(test.rule), options, {}, rank);
        run.trainer().start();
        if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
        ParameterArena& arena = run.network().parameters();
        arena.store_dense();
        return End{{arena.masks().begin(), arena.masks().end()},
                   {arena.weights<float>().begin(), arena.weights<float>().end()}};
      };
      const End alone = train(one_rank(), folder / "alone");
      CHECK(std::ranges::count(alone.masks, uint8_t{0}) > 10);
      for (const int size : {2, 4}) {
        CAPTURE(size);
        std::vector<End> ends(static_cast<size_t>(size));
        run_on_ranks(size, [&](Communicator& rank) {
          ends[static_cast<size_t>(rank.rank())] = train(rank, folder / std::to_string(size));
        });
        for (const End& end : ends) {
          CHECK(end.masks == alone.masks);
          CHECK(end.weights == ends[0].weights);
        }
      }
    }
}

// Messages name ranks by host and process.

#include "engine/dist/place.h"

#include <doctest/doctest.h>
#include <numeric>

#include "engine/core/error.h"

using namespace sculpt;

TEST_CASE("places: ranks of a host are counted, whatever their order") {
  const auto places = places_of({"10 a", "11 b", "12 a", "13 c d", "14 a"});
  REQUIRE(places.size() == 5);
  const int local[] = {0, 0, 1, 0, 2};
  for (size_t i = 0; i < 5; ++i)
    CHECK(places[i].local_rank == local[i]);
  CHECK(places[3].host == "c d");
  CHECK(places[4].process == 14);
  CHECK(count_hosts(places) == 3);
  CHECK(name_of(2, places) == "rank 2 on a (process 12)");
  CHECK(name_of(2, std::vector<RankPlace>{}) == "rank 2");
}

TEST_CASE("places: a place survives its text") {
  const RankPlace here = this_place();
  const auto read = places_of({to_text(here)});
  CHECK(read[0].host == here.host);
  CHECK(read[0].process == here.process);
  for (const char* text : {"", "host", "12", "12host"})
    CHECK_THROWS_AS(places_of({text}), Error);
}

TEST_CASE("places: lists of ranks") {
  const auto places = places_of({"10 a", "11 b", "12 a"});
  const std::vector<int> all = {0, 1, 2};
  CHECK(names_of(std::span(all).first(1), places) == "rank 0 on a (process 10)");
  CHECK(names_of(std::span(all).first(2), places) ==
        "rank 0 on a (process 10) and rank 1 on b (process 11)");
  CHECK(names_of(all, places) ==
        "rank 0 on a (process 10), rank 1 on b (process 11) and rank 2 on a (process 12)");
  std::vector<int> many(100);
  std::iota(many.begin(), many.end(), 0);
  const std::string text = names_of(many, {});
  CHECK(text.ends_with(", rank 7 and 92 more ranks"));
}

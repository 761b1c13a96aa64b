#include "engine/core/registry.h"

#include <array>
#include <doctest/doctest.h>

namespace sculpt {
namespace {

struct Row {
  std::string_view name;
  int value;
};
constexpr std::array<Row, 3> kRows = {{{"snip", 1}, {"grasp", 2}, {"synflow", 3}}};

TEST_CASE("registry: names in order, rows by name") {
  CHECK(names_of(kRows) == std::vector<std::string>{"snip", "grasp", "synflow"});
  CHECK(find_row(kRows, "grasp", "criterion").value == 2);
  CHECK(&find_row(kRows, "synflow", "criterion") == &kRows[2]);
}

TEST_CASE("registry: an unknown name is an error with the nearest name and all names") {
  CHECK_THROWS_WITH_AS(
      find_row(kRows, "Snip", "criterion"),
      "there is no criterion 'Snip', did you mean \"snip\"?; there are: snip, grasp, "
      "synflow",
      Error);
  CHECK_THROWS_WITH_AS(find_row(kRows, "magnitude", "criterion"),
                       "there is no criterion 'magnitude'; there are: snip, grasp, synflow", Error);
}

}  // namespace
}  // namespace sculpt

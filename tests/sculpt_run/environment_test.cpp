// environment.json: what a resumed run is told about the program and machine that started it.

#include "apps/sculpt_run/environment.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace sculpt;

namespace {

RunIdentity identity() {
  RunIdentity identity;
  identity.device = "cpu";
  identity.backend = "cpu-avx2";
  identity.threads = 2;
  identity.inputs.data = "1234";
  return identity;
}

}  // namespace

TEST_CASE("environment: carries its format, and nothing has changed since it was written") {
  const std::string json = environment_json(identity());
  CHECK(nlohmann::json::parse(json).at("format") == "sculpt-environment-1");
  CHECK(changes_of_environment(json, identity()).empty());
  CHECK(recorded_inputs(json).data == "1234");
}

TEST_CASE("environment: a file without a format is compared, and a newer one gives one note") {
  auto values = nlohmann::ordered_json::parse(environment_json(identity()));
  RunIdentity other = identity();
  other.threads = 3;
  values.erase("format");
  CHECK(changes_of_environment(values.dump(), identity()).empty());
  CHECK(changes_of_environment(values.dump(), other).size() == 1);
  CHECK(recorded_inputs(values.dump()).data == "1234");

  values["format"] = "sculpt-environment-2";
  const auto changes = changes_of_environment(values.dump(), other);
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].find("sculpt-environment-2") != std::string::npos);
  CHECK(changes[0].find("threads") == std::string::npos);
  CHECK(recorded_inputs(values.dump()).data.empty());
}

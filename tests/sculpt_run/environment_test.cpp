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

TEST_CASE("environment: the start of the run stays known however often the run is resumed") {
  RunIdentity second = identity(), third = identity();
  second.threads = 3;
  third.threads = 1;
  const std::string first = environment_json(identity());
  const std::string once = environment_of_resumed(first, second);
  const std::string twice = environment_of_resumed(environment_of_resumed(once, third), second);
  const auto values = nlohmann::json::parse(twice);
  CHECK(values.at("format") == "sculpt-environment-1");
  CHECK(values.at("threads") == 2);
  REQUIRE(values.at("resumed").size() == 2);  // not again for a machine that the file has
  CHECK(values.at("resumed")[0].at("threads") == 3);
  CHECK(values.at("resumed")[1].at("threads") == 1);
  CHECK_FALSE(values.at("resumed")[0].contains("data_fingerprint"));
  CHECK(recorded_inputs(twice).data == "1234");
  CHECK(changes_of_environment(once, third) ==
        std::vector<std::string>{
            "the run was started with 2 threads and was resumed with 3",
            "the run was started with 2 threads and continues with 1",
        });
  // A run that is back on the machine of its start has worked on another one.
  CHECK(changes_of_environment(once, identity()) ==
        std::vector<std::string>{"the run was started with 2 threads and was resumed with 3"});
  CHECK(changes_of_environment(once, second) ==
        std::vector<std::string>{"the run was started with 2 threads and continues with 3"});
  // Without a change, the file stays as it was.
  CHECK(environment_of_resumed(first, identity()) == first);
  CHECK(environment_of_resumed(twice, third) == twice);
}

TEST_CASE("environment: a file that is lost, damaged or newer is said, and stays known as lost") {
  RunIdentity other = identity();
  other.threads = 3;
  const std::string newer = R"({"format": "sculpt-environment-2", "threads": 2})";
  const std::pair<std::string, const char*> cases[] = {
      {"", "is missing"},
      {"{\"threads\": ", "is damaged"},
      {"[3]", "is damaged"},
      {newer, "has the newer format sculpt-environment-2"},
      {R"({"format": 3})", "has the format 3"},
      {R"({"format": "sculpt-config-1"})", "has the format sculpt-config-1"}};
  for (const auto& [json, problem] : cases) {
    CAPTURE(json);
    CHECK(problem_of_environment(json).starts_with(problem));
    const auto changes = changes_of_environment(json, identity());
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].starts_with(std::string("environment.json ") + problem));
    CHECK(recorded_inputs(json).data.empty());
    const std::string again = environment_of_resumed(json, identity());
    CHECK(recorded_inputs(again).data == "1234");
    const auto later = changes_of_environment(environment_of_resumed(again, identity()), other);
    REQUIRE(later.size() == 2);
    CHECK(later[0].find("not known with which program") != std::string::npos);
    CHECK(later[1] == "the run was resumed with 2 threads and continues with 3");
  }
  CHECK(problem_of_environment(environment_json(identity())).empty());
}

#include "apps/sculpt_run/environment.h"

#include <algorithm>
#include <fmt/format.h>
#include <gnu/libc-version.h>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>
#include <thread>

#include "build_info.h"
#include "engine/core/file_format.h"
#include "engine/ops/kernel_rule.h"
#include "engine/run/json_format.h"
#include "kernels/common/cpu_caches.h"
#include "kernels/common/cpu_name.h"
#include "kernels/tuning/build_id.h"

namespace sculpt {
namespace {

using Json = nlohmann::ordered_json;

constexpr FileFormat kFormat{"sculpt-environment", 1};
constexpr const char* kDataFingerprint = "data_fingerprint";
constexpr const char* kInitialFingerprint = "init_from_fingerprint";
/// The fingerprints of the files that the plan loads, by path.
constexpr const char* kLoadedFingerprints = "loaded_fingerprints";
/// The other machines and programs on which the run was resumed.
constexpr const char* kResumed = "resumed";
/// The machine and program of the start are not known, because the file was lost. Those of a later
/// resume stand in their place.
constexpr const char* kStartUnknown = "start_unknown";

std::string system_name() {
  utsname name{};
  if (uname(&name) != 0) return "";
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

std::string c_library() {
  return std::string("glibc ") + gnu_get_libc_version();
}

/// Returns the text under a key, or "" if there is none.
std::string text_of(const Json& environment, const char* key) {
  const auto found = environment.find(key);
  return found != environment.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Returns the bytes of the recorded L2 cache, or -1 if they are not recorded.
int64_t l2_of(const Json& environment) {
  const auto caches = environment.find("caches");
  if (caches == environment.end() || !caches->is_object()) return -1;
  const auto l2 = caches->find("l2");
  return l2 != caches->end() && l2->is_number_integer() ? l2->get<int64_t>() : -1;
}

/// Returns the number of ranks. Runs on one rank do not record it.
int64_t ranks_of(const Json& environment) {
  const auto found = environment.find("ranks");
  return found != environment.end() && found->is_number_integer() ? found->get<int64_t>() : 1;
}

std::string name_of(const std::string& libraries) {
  return libraries.empty() ? "Sculpt's kernels alone" : libraries;
}

Json machine_json(const RunIdentity& identity) {
  const kernels::CpuCaches& caches = kernels::cpu_caches();
  Json machine = {{"version", SCULPT_VERSION},
                  {"commit", SCULPT_COMMIT},
                  {"build_type", SCULPT_BUILD_TYPE},
                  {"compiler", __VERSION__},
                  {"build", build_of_program()},
                  {"c_library", c_library()},
                  {"system", system_name()},
                  {"cpu", kernels::cpu_name()},
                  {"processors", std::thread::hardware_concurrency()},
                  {"caches", {{"l1_data", caches.l1_data}, {"l2", caches.l2}, {"l3", caches.l3}}},
                  {"device", identity.device},
                  {"device_description", identity.device_description},
                  {"backend", identity.backend},
                  {"threads", identity.threads}};
  if (identity.ranks > 1) machine["ranks"] = identity.ranks;
  if (!identity.rank_library.empty()) machine["rank_library"] = identity.rank_library;
  if (!identity.libraries.empty()) machine["libraries"] = identity.libraries;
  return machine;
}

/// Returns the machine and program that an environment begins with.
Json machine_of(Json environment) {
  for (const char* key : {"format", kResumed, kStartUnknown, kDataFingerprint, kInitialFingerprint,
                          kLoadedFingerprints})
    environment.erase(key);
  return environment;
}

void add_inputs(const RunInputs& inputs, Json& environment) {
  if (!inputs.data.empty()) environment[kDataFingerprint] = inputs.data;
  if (!inputs.initial.empty()) environment[kInitialFingerprint] = inputs.initial;
  for (const auto& [path, fingerprint] : inputs.loaded)
    environment[kLoadedFingerprints][path] = fingerprint;
}

Json parse(const std::string& json) {
  return Json::parse(json, nullptr, /*allow_exceptions=*/false);
}

/// Says why an environment.json cannot be used; "" if it can be.
std::string problem_of(const std::string& json, const Json& environment) {
  if (json.empty()) return "is missing or empty";
  if (!environment.is_object()) return "is damaged: it is not a JSON object";
  const std::string format = format_of(environment);
  const FormatAge age = age_of(format, kFormat);
  if (age == FormatAge::known) return "";
  return fmt::format("has the {}format {}, and this program reads {}",
                     age == FormatAge::newer ? "newer " : "", format, kFormat.text());
}

/// Returns one sentence for each difference that may alter the bits of the result. `began` and
/// `went_on` are the verbs of the sentences, such as "started" and "continues".
std::vector<std::string> differences(const Json& before, const Json& now, const char* began,
                                     const char* went_on) {
  std::vector<std::string> found;
  const auto say = [&](const std::string& with_before, const std::string& with_now) {
    found.push_back(
        fmt::format("the run was {} {} and {} {}", began, with_before, went_on, with_now));
  };
  // A value that is missing, or that someone has edited into another type, is not compared.
  const auto compare = [&](const char* key, const char* text, const char* text_now) {
    const std::string a = text_of(before, key), b = text_of(now, key);
    if (before.contains(key) && before[key].is_string() && a != b)
      say(fmt::format(fmt::runtime(text), a), fmt::format(fmt::runtime(text_now), b));
  };
  if (const std::string build = text_of(before, "build");
      !build.empty() && build != text_of(now, "build"))
    say(fmt::format("with another build of the program (commit {}, compiler {})",
                    text_of(before, "commit"), text_of(before, "compiler")),
        fmt::format("with commit {}, compiler {}", text_of(now, "commit"),
                    text_of(now, "compiler")));
  compare("c_library", "with the C library {}", "with {}");
  compare("device_description", "on the device '{}'", "on '{}'");
  compare("backend", "on the backend {}", "on {}");
  if (const std::string a = text_of(before, "libraries"), b = text_of(now, "libraries");
      before.contains("libraries") && a != b)
    say("with " + name_of(a), "with " + name_of(b));
  if (const auto a = before.find("threads"), b = now.find("threads");
      a != before.end() && b != now.end() && a->is_number_integer() && *a != *b)
    say(fmt::format("with {} thread{}", a->get<int64_t>(), a->get<int64_t>() == 1 ? "" : "s"),
        fmt::format("with {}", b->dump()));
  if (const int64_t a = ranks_of(before), b = ranks_of(now); a != b)
    say(fmt::format("on {} rank{}", a, a == 1 ? "" : "s"), fmt::format("on {}", b));
  if (now.contains("rank_library")) compare("rank_library", "with {}", "with {}");
  const int64_t l2_before = l2_of(before), l2_now = l2_of(now);
  if (l2_before >= 0 && l2_now >= 0 && ops::cache_class(l2_before) != ops::cache_class(l2_now))
    say(fmt::format("with an L2 cache of {} KiB", l2_before >> 10),
        fmt::format("with {} KiB", l2_now >> 10));
  return found;
}

/// Returns the other machines and programs on which the run was resumed.
std::vector<Json> resumed_on(const Json& environment) {
  std::vector<Json> machines;
  const auto found = environment.find(kResumed);
  if (found == environment.end() || !found->is_array()) return machines;
  for (const Json& machine : *found)
    if (machine.is_object()) machines.push_back(machine);
  return machines;
}

}  // namespace

std::string build_of_program() {
  return kernels::build_id(reinterpret_cast<const void*>(&environment_json));
}

std::string environment_json(const RunIdentity& identity) {
  Json environment = {{"format", kFormat.text()}};
  environment.update(machine_json(identity));
  add_inputs(identity.inputs, environment);
  return environment.dump(2) + "\n";
}

std::string environment_of_resumed(const std::string& json, const RunIdentity& now) {
  Json environment = parse(json);
  if (!problem_of(json, environment).empty()) {
    environment = parse(environment_json(now));
    environment[kStartUnknown] = true;
    return environment.dump(2) + "\n";
  }
  const Json machine = machine_json(now);
  std::vector<Json> resumed = resumed_on(environment);
  if (machine != machine_of(environment) && std::ranges::find(resumed, machine) == resumed.end())
    resumed.push_back(machine);
  Json whole = {{"format", kFormat.text()}};
  whole.update(machine_of(environment));
  if (environment.contains(kStartUnknown)) whole[kStartUnknown] = environment[kStartUnknown];
  if (!resumed.empty()) whole[kResumed] = resumed;
  const RunInputs recorded = recorded_inputs(json);
  add_inputs(recorded, whole);
  add_inputs(now.inputs, whole);
  // The driver's name for a GPU may not be UTF-8.
  return whole.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

RunInputs recorded_inputs(const std::string& json) {
  const Json environment = parse(json);
  RunInputs inputs;
  // Checkpoints record the same.
  if (!problem_of(json, environment).empty()) return inputs;
  inputs.data = text_of(environment, kDataFingerprint);
  inputs.initial = text_of(environment, kInitialFingerprint);
  if (const auto loaded = environment.find(kLoadedFingerprints);
      loaded != environment.end() && loaded->is_object())
    for (const auto& [path, fingerprint] : loaded->items())
      if (fingerprint.is_string()) inputs.loaded[path] = fingerprint.get<std::string>();
  return inputs;
}

std::string problem_of_environment(const std::string& json) {
  return problem_of(json, parse(json));
}

std::vector<std::string> changes_of_environment(const std::string& json, const RunIdentity& now) {
  const Json environment = parse(json);
  if (const std::string problem = problem_of(json, environment); !problem.empty())
    return {
        fmt::format("environment.json {}: it is not known whether program or machine have changed "
                    "since the run was started",
                    problem)};
  std::vector<std::string> changes;
  const bool unknown = environment.contains(kStartUnknown);
  if (unknown)
    changes.emplace_back(
        "environment.json was lost before an earlier resume: it is not known with which program "
        "and machine the run was started");
  const char* began = unknown ? "resumed" : "started";
  const Json machine = machine_json(now);
  for (const Json& other : resumed_on(environment)) {
    if (differences(other, machine, "", "").empty()) continue;
    for (std::string& text : differences(environment, other, began, "was resumed"))
      changes.push_back(std::move(text));
  }
  for (std::string& text : differences(environment, machine, began, "continues"))
    changes.push_back(std::move(text));
  return changes;
}

std::string change_of_choices(const kernels::Choices& recorded, const kernels::Choices& made) {
  for (const auto& [problem, choice] : made) {
    const auto before = recorded.find(problem);
    if (before != recorded.end() && before->second != choice)
      return fmt::format("the run was started with {} kernels and continues with {} kernels ({})",
                         kernels::to_string(before->second), kernels::to_string(choice), problem);
  }
  return "";
}

}  // namespace sculpt

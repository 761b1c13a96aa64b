#include "apps/sculpt_run/environment.h"

#include <fmt/format.h>
#include <gnu/libc-version.h>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>
#include <thread>

#include "build_info.h"
#include "engine/core/file_format.h"
#include "engine/ops/kernel_rule.h"
#include "kernels/common/cpu_caches.h"
#include "kernels/common/cpu_name.h"
#include "kernels/tuning/build_id.h"

namespace sculpt {
namespace {

constexpr FileFormat kFormat{"sculpt-environment", 1};
constexpr const char* kDataFingerprint = "data_fingerprint";
constexpr const char* kInitialFingerprint = "init_from_fingerprint";

std::string system_name() {
  utsname name{};
  if (uname(&name) != 0) return "";
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

std::string c_library() {
  return std::string("glibc ") + gnu_get_libc_version();
}

/// Identifies the linked program. The commit would not, because the working tree may have had
/// changes.
std::string this_build() {
  return kernels::build_id(reinterpret_cast<const void*>(&environment_json));
}

/// Returns the text under a key, or "" if there is none.
std::string text_of(const nlohmann::json& environment, const char* key) {
  const auto found = environment.find(key);
  return found != environment.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Returns the bytes of the recorded L2 cache, or -1 if they are not recorded.
int64_t l2_of(const nlohmann::json& environment) {
  const auto caches = environment.find("caches");
  if (caches == environment.end() || !caches->is_object()) return -1;
  const auto l2 = caches->find("l2");
  return l2 != caches->end() && l2->is_number_integer() ? l2->get<int64_t>() : -1;
}

std::string name_of(const std::string& libraries) {
  return libraries.empty() ? "Sculpt's kernels alone" : libraries;
}

}  // namespace

std::string environment_json(const RunIdentity& identity) {
  const kernels::CpuCaches& caches = kernels::cpu_caches();
  nlohmann::ordered_json environment = {
      {"format", kFormat.text()},
      {"version", SCULPT_VERSION},
      {"commit", SCULPT_COMMIT},
      {"build_type", SCULPT_BUILD_TYPE},
      {"compiler", __VERSION__},
      {"build", this_build()},
      {"c_library", c_library()},
      {"system", system_name()},
      {"cpu", kernels::cpu_name()},
      {"processors", std::thread::hardware_concurrency()},
      {"caches", {{"l1_data", caches.l1_data}, {"l2", caches.l2}, {"l3", caches.l3}}},
      {"device", identity.device},
      {"device_description", identity.device_description},
      {"backend", identity.backend},
      {"threads", identity.threads}};
  if (!identity.libraries.empty()) environment["libraries"] = identity.libraries;
  const RunInputs& inputs = identity.inputs;
  if (!inputs.data.empty()) environment[kDataFingerprint] = inputs.data;
  if (!inputs.initial.empty()) environment[kInitialFingerprint] = inputs.initial;
  return environment.dump(2) + "\n";
}

RunInputs recorded_inputs(const std::string& json) {
  const auto environment = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto text = [&](const char* key) {
    const auto found = environment.is_object() ? environment.find(key) : environment.end();
    return found != environment.end() && found->is_string() ? found->get<std::string>() : "";
  };
  RunInputs inputs;
  // Checkpoints record the same.
  if (age_of(text("format"), kFormat) != FormatAge::known) return inputs;
  inputs.data = text(kDataFingerprint);
  inputs.initial = text(kInitialFingerprint);
  return inputs;
}

std::vector<std::string> changes_of_environment(const std::string& json, const RunIdentity& now) {
  std::vector<std::string> changes;
  const auto environment = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  const std::string format = text_of(environment, "format");
  if (age_of(format, kFormat) != FormatAge::known)
    return {
        fmt::format("environment.json has the format {}, and this program reads {}: it is not "
                    "known whether program or machine have changed since the run was started",
                    format, kFormat.text())};
  // A value that is missing, or that someone has edited into another type, is not compared.
  const auto compare = [&](const char* key, const auto& now_value, const auto& describe) {
    using T = std::decay_t<decltype(now_value)>;
    try {
      const T before = environment.value(key, now_value);
      if (before != now_value) changes.push_back(describe(before, now_value));
    } catch (const nlohmann::json::exception&) {
    }
  };
  const auto sentence = [](const char* text) {
    return [text](const auto& before, const auto& after) {
      return fmt::format(fmt::runtime(text), before, after);
    };
  };
  using std::string;
  compare("build", this_build(), [&](const string&, const string&) {
    return fmt::format(
        "the run was started with another build of the program (commit {}, compiler {}) and "
        "continues with commit {}, compiler {}",
        text_of(environment, "commit"), text_of(environment, "compiler"), SCULPT_COMMIT,
        __VERSION__);
  });
  compare("c_library", c_library(),
          sentence("the run was started with the C library {} and continues with {}"));
  compare("device_description", now.device_description,
          sentence("the run was started on the device '{}' and continues on '{}'"));
  compare("backend", now.backend,
          sentence("the run was started on the backend {} and continues on {}"));
  compare("libraries", now.libraries, [](const string& before, const string& after) {
    return fmt::format("the run was started with {} and continues with {}", name_of(before),
                       name_of(after));
  });
  compare("threads", now.threads,
          sentence("the run was started with {} threads and continues with {}"));
  const int64_t l2_before = l2_of(environment), l2_now = kernels::cpu_caches().l2;
  if (l2_before >= 0 && ops::cache_class(l2_before) != ops::cache_class(l2_now))
    changes.push_back(
        fmt::format("the run was started with an L2 cache of {} KiB and continues with {} KiB",
                    l2_before >> 10, l2_now >> 10));
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

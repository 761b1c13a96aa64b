#include "apps/sculpt_run/environment.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>
#include <thread>

#include "build_info.h"
#include "kernels/common/cpu_name.h"

namespace sculpt {
namespace {

constexpr const char* kDataFingerprint = "data_fingerprint";
constexpr const char* kInitialFingerprint = "init_from_fingerprint";

std::string system_name() {
  utsname name{};
  if (uname(&name) != 0) return "";
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

std::string name_of(const std::string& libraries) {
  return libraries.empty() ? "our kernels alone" : libraries;
}

}  // namespace

std::string environment_json(const RunIdentity& identity) {
  nlohmann::ordered_json environment = {{"version", SCULPT_VERSION},
                                        {"commit", SCULPT_COMMIT},
                                        {"build_type", SCULPT_BUILD_TYPE},
                                        {"compiler", __VERSION__},
                                        {"system", system_name()},
                                        {"cpu", kernels::cpu_name()},
                                        {"processors", std::thread::hardware_concurrency()},
                                        {"device", identity.device},
                                        {"device_description", identity.device_description},
                                        {"backend", identity.backend},
                                        {"threads", identity.threads}};
  if (!identity.libraries.empty()) environment["libraries"] = identity.libraries;
  if (!identity.conv_choices.empty()) environment["conv_choices"] = identity.conv_choices;
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
  inputs.data = text(kDataFingerprint);
  inputs.initial = text(kInitialFingerprint);
  return inputs;
}

kernels::Choices recorded_choices(const std::string& json) {
  kernels::Choices choices;
  const auto environment = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!environment.is_object()) return choices;
  const auto recorded = environment.find("conv_choices");
  if (recorded == environment.end() || !recorded->is_object()) return choices;
  for (const auto& [problem, word] : recorded->items())
    if (word.is_string())
      if (const auto choice = kernels::choice_from(word.get_ref<const std::string&>()))
        choices[problem] = *choice;
  return choices;
}

std::string change_of_environment(const std::string& json, const RunIdentity& now) try {
  const auto environment = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!environment.is_object()) return "";
  const std::string backend = environment.value("backend", std::string(now.backend));
  if (backend != now.backend)
    return fmt::format("the run was started on {} and goes on on {}", backend, now.backend);
  const std::string libraries = environment.value("libraries", std::string());
  if (libraries != now.libraries)
    return fmt::format("the run was started with {} and goes on with {}", name_of(libraries),
                       name_of(now.libraries));
  const kernels::Choices choices = recorded_choices(json);
  for (const auto& [problem, choice] : now.conv_choices) {
    const auto recorded = choices.find(problem);
    if (recorded != choices.end() && kernels::to_string(recorded->second) != choice)
      return fmt::format("the run was started with {} kernels and goes on with {} ones ({})",
                         kernels::to_string(recorded->second), choice, problem);
  }
  const int64_t threads = environment.value("threads", int64_t{now.threads});
  if (threads != now.threads)
    return fmt::format("the run was started with {} threads and goes on with {}", threads,
                       now.threads);
  return "";
} catch (const nlohmann::json::type_error&) {
  return "";  // edited by hand; it only informs
}

}  // namespace sculpt

#include "apps/sculpt_analyze/session.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "apps/sculpt_run/paths.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/setup.h"
#include "apps/sculpt_run/table.h"
#include "engine/analyze/exported_network.h"
#include "engine/analyze/network_values.h"
#include "engine/core/error.h"
#include "engine/run/network_file.h"

namespace sculpt::analyze {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKeepCycles =
    "run it with --set train.keep=cycles, which keeps a checkpoint of the end of every cycle";

/// Runs `body` and turns its errors into usage errors: nothing has been written yet.
template <class Body>
auto as_usage(const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

/// Returns the folder of the run that a checkpoint belongs to: the first folder above it that has a
/// config.toml.
std::optional<fs::path> run_of(const fs::path& checkpoint) {
  fs::path folder = fs::absolute(checkpoint).lexically_normal().parent_path();
  for (int up = 0; up < 2; ++up, folder = folder.parent_path())
    if (fs::exists(RunFolder(folder).config()))
      return folder.lexically_proximate(fs::current_path());
  return std::nullopt;
}

Request request_for(const RunOptions& options, const fs::path& folder,
                    std::map<std::string, std::string> places) {
  Request request;
  request.options = options;
  request.places = std::move(places);
  request.folder = RunFolder(folder);
  return request;
}

/// Masked weights of a file of another program may have values.
void zero_masked(StoredNetwork& values) {
  for (size_t i = 0; i < values.weights.size(); ++i)
    if (values.masks[i] == 0) values.weights[i] = 0;
}

/// Returns the text in lower case, with hyphens in the place of everything but letters and digits.
std::string key_of(std::string text) {
  for (char& c : text)
    c = std::isalnum(static_cast<unsigned char>(c)) != 0
            ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
            : '-';
  return text;
}

bool same_network(const StoredNetwork& a, const StoredNetwork& b) {
  return a.weights == b.weights && a.states == b.states && a.masks == b.masks;
}

}  // namespace

Target find_target(const std::string& given, const SharedOptions& shared) {
  Target target;
  target.path = expand_home(given);
  std::error_code error;
  if (!fs::exists(target.path, error))
    throw UsageError(
        fmt::format("there is no {}; give a run folder, or a checkpoint in one", given));
  if (fs::is_directory(target.path)) {
    target.run = target.path;
    if (!fs::exists(RunFolder(target.path).config()))
      throw UsageError(fmt::format(
          "{} is a folder without config.toml, so it is not a run folder; give the folder that "
          "sculpt_run wrote, or a checkpoint file and its config with --config",
          given));
  } else {
    target.checkpoint = target.path;
    target.run = run_of(target.path);
  }
  if (!shared.config.empty())
    target.config = expand_home(shared.config);
  else if (target.run)
    target.config = RunFolder(*target.run).config();
  else
    throw UsageError(fmt::format(
        "{} does not lie in a run folder, so its config is not known; name it with --config",
        given));
  return target;
}

std::optional<fs::path> results_folder_of(const Target& target, const SharedOptions& shared) {
  if (!shared.out.empty()) return expand_home(shared.out);
  return target.run;
}

Session::Session(const Target& target, const SharedOptions& shared)
    : target_(target), results_(results_folder_of(target, shared)) {
  as_usage([&] {
    ReadOptions read = read_stored_options(target.config.string(), shared.settings);
    options_ = std::move(read.options);
    options_.plan();  // checks the config
    options_.train.accumulate = 1;
    options_.dist = {};  // an analysis is one process
    const Request request =
        request_for(options_, target.run.value_or(fs::path()), std::move(read.places));
    prepare_process(request);
    const kernels::Device device = open(request);
    RunData data = load_run_data(options_);
    class_names_ = data.splits.train.dataset->class_names;
    experiment_ = std::make_unique<Experiment>(options_, device, std::move(data));
    network().initialise(seed());
  });
}

AnalysisImages Session::images(int64_t count) {
  return {.train = [this](int64_t first,
                          int64_t n) { return experiment_->statistics_images(first, n); },
          .train_count = std::min(count, experiment_->train().size()),
          .test = experiment_->test()};
}

StoredNetwork Session::read(const fs::path& path) {
  return as_usage([&] {
    const ParameterArena& parameters = network().parameters();
    if (is_compact(path)) return read_compact(path, parameters);
    const NetworkFile file = NetworkFile::read(path, NetworkParts::both, "sculpt_analyze");
    file.require_fit(parameters);
    StoredNetwork values = file.stored(parameters);
    zero_masked(values);
    return values;
  });
}

std::vector<NamedNetwork> Session::networks_of_run(size_t least) {
  SCULPT_CHECK(target_.run.has_value(), "{} has no run folder", target_.path.string());
  const RunFolder folder(*target_.run);
  std::vector<NamedNetwork> networks;
  for (const auto& [cycle, path] : folder.cycle_checkpoints())
    networks.push_back({fmt::format("cycle {}", cycle), fmt::format("{}", cycle), read(path)});
  if (fs::exists(folder.final_checkpoint())) {
    NamedNetwork last{"final", "final", read(folder.final_checkpoint())};
    if (networks.empty() || !same_network(networks.back().values, last.values))
      networks.push_back(std::move(last));
  }
  if (networks.size() < least)
    throw UsageError(fmt::format(
        "{} has {} of the end of a cycle, but this analysis needs at least {}; {}",
        target_.run->string(),
        networks.empty() ? "no checkpoint" : fmt::format("{} checkpoint", networks.size()), least,
        kKeepCycles));
  return networks;
}

NamedNetwork Session::named(const std::string& name) {
  if (!target_.run && !fs::exists(name))
    throw UsageError(fmt::format("there is no {}; give the path of a checkpoint", name));
  const RunFolder folder(target_.run.value_or(fs::path()));
  if (target_.run && name == "final") {
    if (!fs::exists(folder.final_checkpoint()))
      throw UsageError(
          fmt::format("{} has no final checkpoint, because the run has not finished; "
                      "go on with sculpt_run --resume {}",
                      target_.run->string(), target_.run->string()));
    return {"final", "final", read(folder.final_checkpoint())};
  }
  if (target_.run && name == "initialisation") return initialisation();
  int64_t cycle = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), cycle);
  if (target_.run && error == std::errc() && end == name.data() + name.size()) {
    const fs::path path = folder.cycle_checkpoint(cycle);
    if (!fs::exists(path)) {
      const auto kept = folder.cycle_checkpoints();
      throw UsageError(fmt::format(
          "{} has no checkpoint of the end of cycle {}; {}", target_.run->string(), cycle,
          kept.empty() ? kKeepCycles
                       : fmt::format("it has {}, from cycle {} to cycle {}",
                                     counted(static_cast<int64_t>(kept.size()), "such checkpoint"),
                                     kept.front().first, kept.back().first)));
    }
    return {fmt::format("cycle {}", cycle), name, read(path)};
  }
  const fs::path path = expand_home(name);
  if (!fs::exists(path))
    throw UsageError(fmt::format(
        "there is no {}; name the number of a cycle, final, initialisation, or a file", name));
  // The name of a run folder tells checkpoints of several runs apart.
  const std::optional<fs::path> run = run_of(path);
  const bool of_this_run = run && target_.run && fs::equivalent(*run, *target_.run);
  const std::string stem = path.stem().string();
  const std::string label =
      run && !of_this_run ? fs::absolute(*run).lexically_normal().filename().string() + "-" + stem
                          : stem;
  return {label, key_of(label), read(path)};
}

NamedNetwork Session::initialisation() {
  if (target_.run) {
    const fs::path stored = RunFolder(*target_.run).rewind_checkpoint(0);
    if (fs::exists(stored)) return {"initialisation", "initialisation", read(stored)};
  }
  return as_usage([&] {
    network().initialise(seed());
    const models::ModelOptions& model = options_.model;
    if (!model.init_from.empty() && model.init_parts != "masks") {
      const NetworkFile file = NetworkFile::read(model.init_from, NetworkParts::weights);
      file.load_into(network().parameters());
    }
    return NamedNetwork{"initialisation", "initialisation", values_of(network())};
  });
}

}  // namespace sculpt::analyze

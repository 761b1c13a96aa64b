#include "apps/sculpt_run/request.h"

#include <cstdio>
#include <filesystem>

#include "engine/train/kernel_choices.h"

namespace sculpt {

namespace {

std::optional<std::pair<int64_t, int64_t>> steps_of(const std::string& text) {
  if (text.empty()) return std::nullopt;
  long long first = 0, last = 0;
  int used = 0;
  const int read = std::sscanf(text.c_str(), "%lld:%lld%n", &first, &last, &used);
  if (read != 2 || static_cast<size_t>(used) != text.size() || first < 0 || last < first)
    fail("--profile {}: write FIRST:LAST, two step numbers counted from 0, e.g. 100:109", text);
  return std::pair<int64_t, int64_t>(first, last);
}

/// Only where the config has kernels timed: a rule needs no record.
void find_kernel_choices(const CommandLine& line, Request& request) {
  const TrainOptions& train = request.options.train;
  if (train.sparse != "tuned" && train.conv != "auto") return;
  const std::filesystem::path beside_config =
      std::filesystem::path(line.config).parent_path() / request.folder.kernel_choices().filename();
  for (const std::filesystem::path& path : {request.folder.kernel_choices(), beside_config}) {
    if (!std::filesystem::exists(path)) continue;
    request.kernel_choices = read_kernel_choices(path);
    request.kernel_choices_file = path;
    return;
  }
}

}  // namespace

Request make_request(const CommandLine& line) try {
  Request request{read_options(line.config, line.settings),
                  {},
                  "",
                  "",
                  RunFolder(""),
                  steps_of(line.profile),
                  {},
                  ""};
  RunOptions& options = request.options;
  request.plan = options.plan();
  request.config_toml = write_config(options.sections());
  const auto values = flatten_config(request.config_toml, "config");
  request.config_hash = hash_config(values, keys_without_effect());
  request.folder = RunFolder(line.out.empty() ? default_folder(line.config, options) : line.out);
  find_kernel_choices(line, request);
  if (line.plan || line.describe || request.folder.empty()) return request;

  const std::string name = request.folder.root().string();
  if (!std::filesystem::exists(request.folder.config()))
    fail("{} is not empty and no run folder; choose another with --out", name);
  if (!line.resume)
    fail("{} holds a run already; go on with --resume, or choose another folder with --out", name);
  require_same_config(request.folder, values, keys_without_effect());
  return request;
} catch (const Error& error) {
  throw UsageError(error.what());
}

}  // namespace sculpt

#include "apps/sculpt_run/request.h"

#include <filesystem>

namespace sculpt {

Request make_request(const CommandLine& line) try {
  Request request{read_options(line.config, line.settings), {}, "", "", RunFolder("")};
  RunOptions& options = request.options;
  request.plan = options.plan();
  request.config_toml = write_config(options.sections());
  const auto values = flatten_config(request.config_toml, "config");
  request.config_hash = hash_config(values, keys_without_effect());
  request.folder = RunFolder(line.out.empty() ? default_folder(line.config, options) : line.out);
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

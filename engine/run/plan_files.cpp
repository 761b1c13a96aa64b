#include "engine/run/plan_files.h"

#include "engine/core/error.h"
#include "engine/run/run_folder.h"

namespace sculpt {

std::filesystem::path file_to_load(const std::string& path) {
  std::error_code error;
  const std::filesystem::path place(path);
  if (place.is_relative() && !std::filesystem::exists(place, error))
    fail(
        "cannot read {}: No such file or directory. A relative path counts from the folder in "
        "which the program is started, which is {} now",
        path, std::filesystem::current_path(error).string());
  if (!std::filesystem::is_directory(place, error)) return place;
  const std::filesystem::path file = RunFolder(path).final_checkpoint();
  if (!std::filesystem::exists(file, error))
    fail("there is no {}; give the folder of a finished run, or the path of a safetensors file",
         file.string());
  return file;
}

PlanFiles PlanFiles::read(const Plan& plan, size_t first) {
  PlanFiles files;
  for (size_t i = first; i < plan.size(); ++i) {
    const auto* step = std::get_if<Intervention>(&plan[i]);
    if (step == nullptr) continue;
    const FilePart part = find_action(step->action).reads;
    const std::pair key(step->path, part);
    if (part == FilePart::none || files.files_.contains(key)) continue;
    const std::string wanted_by =
        fmt::format("step {} of the plan, \"{}\"", i + 1, describe(*step));
    const std::filesystem::path path = [&] {
      try {
        return file_to_load(step->path);
      } catch (const Error& error) {
        fail("{}: {}", wanted_by, error.what());
      }
    }();
    NetworkFile file = NetworkFile::read(
        path, part == FilePart::masks ? NetworkParts::masks : NetworkParts::weights, wanted_by);
    std::string fingerprint = file.fingerprint();
    files.files_.emplace(key, Loaded{std::move(file), {}, std::move(fingerprint)});
  }
  return files;
}

void PlanFiles::fit_to(const ParameterArena& parameters) {
  for (auto& [key, loaded] : files_) {
    loaded.file.require_fit(parameters);
    loaded.values = loaded.file.stored(parameters);
  }
}

const StoredNetwork& PlanFiles::of(const Intervention& step) const {
  const StoredNetwork* const found = find(step);
  SCULPT_CHECK(found != nullptr, "the file of \"{}\" was not read", describe(step));
  return *found;
}

const StoredNetwork* PlanFiles::find(const Intervention& step) const {
  const auto found = files_.find({step.path, find_action(step.action).reads});
  return found == files_.end() ? nullptr : &found->second.values;
}

std::map<std::string, std::string> PlanFiles::fingerprints() const {
  std::map<std::string, std::string> prints;
  for (const auto& [key, loaded] : files_)
    prints[key.first] = loaded.fingerprint;
  return prints;
}

}  // namespace sculpt

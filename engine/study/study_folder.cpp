#include "engine/study/study_folder.h"

#include <fmt/format.h>
#include <fstream>

#include "engine/config/setting_name.h"
#include "engine/core/error.h"
#include "engine/study/study_file.h"

namespace sculpt {

namespace fs = std::filesystem;

fs::path StudyFolder::study() const {
  return root_ / kStudyFile;
}
fs::path StudyFolder::index() const {
  return root_ / "index.sqlite";
}
fs::path StudyFolder::config(const StudyRun& run) const {
  return root_ / "configs" / (run.name + ".toml");
}
fs::path StudyFolder::log(const StudyRun& run) const {
  return root_ / "logs" / (run.name + ".log");
}
fs::path StudyFolder::failure(const StudyRun& run) const {
  return root_ / "logs" / (run.name + ".failed");
}

std::string pool_name(const std::map<std::string, std::string>& values, const std::string& hash) {
  std::string name;
  const auto add = [&](const std::string& key, const std::string& before) {
    const auto found = values.find(key);
    if (found == values.end()) return;
    const StudyValue value{found->second, ""};
    const std::string text = file_name_text(value.text());
    if (!text.empty()) name += (name.empty() ? "" : "-") + before + text;
  };
  add("data.name", "");
  add("model.name", "");
  add("method", "");
  add("prune.sparsity", "sparsity");
  add("seed", "s");
  return name + "-" + hash.substr(0, 8);
}

void link_to_folder(const fs::path& link, const fs::path& target) {
  const fs::path text = fs::relative(fs::absolute(target), fs::absolute(link).parent_path());
  std::error_code error;
  if (fs::is_symlink(fs::symlink_status(link, error))) {
    if (fs::read_symlink(link, error) == text) return;
    fs::remove(link, error);
  } else if (fs::exists(link, error)) {
    fail("{} is not a link, so it cannot stand for the run {}; choose another folder with --out",
         link.string(), target.string());
  }
  fs::create_directory_symlink(text, link, error);
  // Another process may have made the same link meanwhile.
  if (error && (!fs::is_symlink(link) || fs::read_symlink(link) != text))
    fail("cannot make the link {}: {}", link.string(), error.message());
}

std::string last_lines(const fs::path& file, size_t lines) {
  constexpr std::streamoff kLongest = 16384;
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const std::streamoff size = in.tellg(), begin = std::max<std::streamoff>(0, size - kLongest);
  std::string text(static_cast<size_t>(size - begin), '\0');
  in.seekg(begin);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  size_t at = text.size();
  for (size_t line = 0; line < lines && at != std::string::npos && at > 0; ++line)
    at = text.rfind('\n', at - 1);
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

}  // namespace sculpt

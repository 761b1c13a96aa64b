#include "engine/study/study_file.h"

#include <algorithm>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/nearest_name.h"
#include "engine/study/study_reader.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// The analyses of sculpt_analyze that need nothing but a run.
const std::vector<std::string> kAnalyses = {"all",     "connectivity", "flips",
                                            "hessian", "prunes",       "surface"};

class StudyFileReader {
 public:
  StudyFileReader(const std::string& path, const StudyChoices& choices, const ConfigKeys* keys)
      : path_(path), choices_(choices), root_(parse_toml_file(read_text(path), path)) {
    names_.file = path;
    names_.keys = keys;
  }

  Study read() {
    require_top_keys(root_, names_);
    require_known(text_in(root_, "format", path_), kStudyFormat, path_ + ": the study file");
    const fs::path file(path_);
    study_.file = path_;
    study_.name = file.stem().string();
    study_.title = text_in(root_, "title", path_);
    if (study_.title.empty()) study_.title = study_.name;
    study_.source = text_in(root_, "source", path_);
    if (study_.source.empty()) study_.source = path_;
    study_.base = base_in(root_, path_);
    choose_size();
    read_values(root_, choices_.settings, names_, study_);
    require_bases();
    name_folders();
    read_analyses();
    read_exclusions(root_, names_, study_);
    read_questions(root_, names_, study_);
    return std::move(study_);
  }

 private:
  void choose_size() {
    study_.size = text_in(root_, "chosen_size", path_);
    if (const toml::table* sizes = table_of(root_, "size", path_))
      study_.sizes = keys_in_order(*sizes);
    if (study_.sizes.empty()) {
      if (!choices_.size.empty())
        fail("--size {}: {} has no sizes; leave --size out", choices_.size, path_);
      return;
    }
    study_.size = choices_.size.empty() ? study_.sizes.front() : choices_.size;
    if (std::ranges::find(study_.sizes, study_.size) == study_.sizes.end())
      fail("--size {}: {} has no such size{}; it has: {}", study_.size, path_,
           did_you_mean(study_.size, study_.sizes), fmt::join(study_.sizes, ", "));
    const toml::table& sizes = *root_["size"].as_table();
    for (const std::string& size : study_.sizes)
      require_folder_name(size, *sizes.get(size), path_);
    if (const std::string base = base_in(*table_of(sizes, study_.size, path_), path_);
        !base.empty())
      study_.base = base;
  }

  void require_bases() const {
    if (!study_.base.empty()) return;
    for (const StudyVariant& variant : study_.variants)
      if (variant.base.empty())
        fail("{}: variant {} has no base config; write base = \"FILE.toml\" at the top or in it",
             path_, variant.name);
    if (study_.variants.empty())
      fail("{}: there is no base config; write base = \"FILE.toml\" at the top", path_);
  }

  void read_analyses() {
    const toml::node* node = root_.get("analyze");
    if (node == nullptr) return;
    const TomlEntry entry{"analyze", node, place_of(*node, path_)};
    study_.analyses_source = entry.source;
    for (const toml::node& item : array_of(entry)) {
      const std::string words = text_of({"analyze", &item, entry.source});
      const std::string name = words.substr(0, words.find(' '));
      if (std::ranges::find(kAnalyses, name) == kAnalyses.end())
        fail("{}: sculpt_analyze has no analysis of runs '{}'{}; it has: {}", entry.source, name,
             did_you_mean(name, kAnalyses), fmt::join(kAnalyses, ", "));
      study_.analyses.push_back(words);
    }
  }

  void name_folders() {
    const std::string suffix =
        study_.sizes.empty() || study_.size == study_.sizes.front() ? "" : "-" + study_.size;
    const std::string out = text_in(root_, "out", path_);
    if (!choices_.out.empty())
      study_.folder = choices_.out;
    else
      study_.folder = (out.empty() ? "runs/" + study_.name : out) + suffix;
    study_.pool = choices_.pool.empty() ? text_in(root_, "pool", path_) : choices_.pool;
  }

  const std::string path_;
  const StudyChoices& choices_;
  const toml::table root_;
  StudyNames names_;
  Study study_;
};

}  // namespace

Study read_study_file(const std::string& path, const StudyChoices& choices,
                      const ConfigKeys& keys) {
  if (!fs::exists(path)) fail("there is no study file {}; give the path of a TOML file", path);
  return StudyFileReader(path, choices, &keys).read();
}

Study read_study_folder(const fs::path& folder) {
  const fs::path file = folder / kStudyFile;
  if (!fs::exists(file))
    fail(
        "{} has no {}, so it is not the folder of a study; give the folder that sculpt_study names",
        folder.string(), kStudyFile);
  StudyChoices choices;
  choices.out = folder.string();
  Study study = StudyFileReader(file.string(), choices, nullptr).read();
  study.name = fs::weakly_canonical(folder).filename().string();
  return study;
}

}  // namespace sculpt

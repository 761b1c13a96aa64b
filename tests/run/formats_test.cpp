// The format that each file of a run folder carries: written always, older files are read, newer
// ones are refused by name.

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/core/file_format.h"
#include "engine/core/files.h"
#include "engine/run/kernel_choices.h"
#include "engine/run/network_file.h"
#include "engine/run/record_file.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_store.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

const Plan kPlan = {Cycle{1}, PruneStep{"magnitude", "global", 0.5}, Cycle{1}};

void finish_run(const fs::path& folder) {
  TinyRun run(folder, kPlan);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
}

std::vector<nlohmann::json> lines_of(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// Replaces every `before` in a file.
void replace_in(const fs::path& path, const std::string& before, const std::string& after) {
  std::string text = read_text(path);
  size_t count = 0;
  for (size_t at = text.find(before); at != std::string::npos; at = text.find(before, at), ++count)
    text.replace(at, before.size(), after);
  REQUIRE(count > 0);
  write_file(path, text);
}

void check_newer(const std::string& message, const fs::path& path, const std::string& format) {
  CAPTURE(message);
  CHECK(contains(message, path.string()));
  CHECK(contains(message, format));
  CHECK(contains(message, "newer"));
}

}  // namespace

TEST_CASE("formats: the age of a format") {
  constexpr FileFormat kFormat{"sculpt-thing", 3};
  CHECK(kFormat.text() == "sculpt-thing-3");
  for (const char* known : {"", "sculpt-thing-1", "sculpt-thing-3"})
    CHECK(age_of(known, kFormat) == FormatAge::known);
  CHECK(age_of("sculpt-thing-4", kFormat) == FormatAge::newer);
  CHECK(age_of("sculpt-thing-10", kFormat) == FormatAge::newer);
  for (const char* unknown : {"sculpt-thing-", "sculpt-thing-x", "sculpt-thing-0",
                              "sculpt-thing-2b", "sculpt-thing", "sculpt-other-3", "3"})
    CHECK(age_of(unknown, kFormat) == FormatAge::unknown);
  CHECK(error_of([&] { require_known("sculpt-thing-2", kFormat, "f"); }).empty());
  check_newer(error_of([&] { require_known("sculpt-thing-4", kFormat, "f"); }), "f",
              "sculpt-thing-4");
  CHECK(contains(error_of([&] { require_known("3", kFormat, "f"); }), "'3'"));
}

TEST_CASE("formats: every record and the summary carry theirs") {
  const TemporaryFolder folder;
  finish_run(folder.path());
  const RunFolder run(folder.path());
  const auto check = [](const fs::path& path, const char* format, size_t count) {
    const auto lines = lines_of(path);
    CHECK(lines.size() == count);
    for (const auto& line : lines)
      CHECK(line.at("format") == format);
  };
  check(run.metrics(), "sculpt-metrics-1", 2);
  check(run.prunes(), "sculpt-prunes-1", 1);
  check(run.layers(), "sculpt-layers-1", 3);
  CHECK(nlohmann::json::parse(read_text(run.summary())).at("format") == "sculpt-summary-1");
  CHECK(safetensors::File::read(run.final_checkpoint(), true).metadata("format") ==
        "sculpt-checkpoint-2");
  CHECK(safetensors::File::read(run.end_state(), true).metadata("format") == "sculpt-state-3");
}

TEST_CASE("formats: a summary without one is read, and a newer one is refused") {
  const TemporaryFolder folder;
  finish_run(folder.path());
  const RunStore store(RunFolder(folder.path()), TinyRun::kHash);
  const fs::path summary = store.folder().summary();
  const int64_t kept = store.check_result().kept;
  replace_in(summary, "sculpt-summary-1", "sculpt-summary-2");
  check_newer(error_of([&] { store.check_result(); }), summary, "sculpt-summary-2");
  replace_in(summary, "\"format\": \"sculpt-summary-2\",", "");
  CHECK(store.check_result().kept == kept);
}

TEST_CASE("formats: records without one are read, and newer ones stop a resume before it begins") {
  const TemporaryFolder whole;
  finish_run(whole.path());
  for (const char* name : {"metrics", "layers", "prunes"}) {
    CAPTURE(name);
    const TemporaryFolder folder;
    {
      TinyRun run(folder.path(), kPlan);
      run.stop_after_step(4);
      run.trainer().start();
      REQUIRE(run.trainer().run() == RunOutcome::interrupted);
    }
    const RunStore store(RunFolder(folder.path()), TinyRun::kHash);
    const std::string format = std::string("sculpt-") + name;
    const fs::path path = folder / (std::string(name) + ".jsonl");
    const std::string as_it_was = read_text(path);
    replace_in(path, format + "-1", format + "-2");
    const std::string newer = read_text(path);
    check_newer(error_of([&] { store.require_resumable(); }), path, format + "-2");
    CHECK(read_text(path) == newer);
    // Older lines stay as they are, and lines with a format follow.
    replace_in(path, "\"format\":\"" + format + "-2\",", "");
    const std::string older = read_text(path);
    TinyRun run(folder.path(), kPlan);
    std::vector<std::string> warnings;
    run.trainer().resume(warnings);
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    CHECK(warnings.empty());
    CHECK(read_text(path).starts_with(older));
    CHECK(lines_of(path).size() == lines_of(whole / (std::string(name) + ".jsonl")).size());
    CHECK(read_file(RunFolder(folder.path()).final_checkpoint()) ==
          read_file(RunFolder(whole.path()).final_checkpoint()));
  }
}

TEST_CASE("formats: a checkpoint of a newer program is not called damaged") {
  /// Writes the checkpoint again with the next version of its format.
  const auto raise = [](const fs::path& path) {
    const auto file = safetensors::File::read(path, true);
    auto metadata = file.metadata();
    std::string& format = metadata.at("format");
    ++format.back();
    metadata.erase("checksum");
    const std::string raised = format;
    safetensors::write(path, {}, metadata);
    return raised;
  };
  const TemporaryFolder folder;
  finish_run(folder.path());
  const RunFolder run(folder.path());
  const RunStore store(run, TinyRun::kHash);
  const auto check = [&](const std::string& message, const fs::path& path,
                         const std::string& format) {
    check_newer(message, path, format);
    CHECK(contains(message, "use the program that wrote the file"));
    CHECK_FALSE(contains(message, "good copy"));
    CHECK_FALSE(contains(message, "--restart"));
  };
  Plan longer = kPlan;
  longer.push_back(Cycle{1});
  const std::string end = raise(run.end_state());
  check(error_of([&] { store.require_extensible(kPlan, TinyRun::kHash, longer); }), run.end_state(),
        end);
  fs::remove(run.summary());
  // The message says why the summary cannot be written again.
  CHECK_FALSE(store.has_ended());
  const std::string lost = error_of([&] { store.require_resumable(); });
  CHECK(contains(lost, "summary.json is missing"));
  CHECK(contains(lost, "cannot be written again: " + run.end_state().string()));
  CHECK(contains(lost, end));
  const std::string final = raise(run.final_checkpoint());
  check(error_of([&] { store.check_result(); }), run.final_checkpoint(), final);

  const TemporaryFolder unfinished;
  {
    TinyRun tiny(unfinished.path(), kPlan);
    tiny.stop_after_step(4);
    tiny.trainer().start();
    REQUIRE(tiny.trainer().run() == RunOutcome::interrupted);
  }
  const RunStore states(RunFolder(unfinished.path()), TinyRun::kHash);
  fs::path oldest;
  std::string state;
  for (const auto& [number, path] : states.folder().states()) {
    oldest = path;
    state = raise(path);
  }
  check(error_of([&] { states.require_resumable(); }), oldest, state);
  TinyRun again(unfinished.path(), kPlan);
  std::vector<std::string> warnings;
  check(error_of([&] { again.trainer().resume(warnings); }), oldest, state);
}

TEST_CASE("formats: kernel choices of version 1 are read, and newer ones are refused") {
  const TemporaryFolder folder;
  const auto path = folder / "kernel_choices.json";
  const kernels::Choices choices = {{"a", kernels::Choice::sparse}, {"b", kernels::Choice::native}};
  const auto json = nlohmann::json::parse(kernel_choices_json(choices));
  CHECK(json.at("format") == "sculpt-kernel-choices-2");
  CHECK(json.at("choices").size() == 2);
  write_file(path, std::string_view("{\"a\": \"sparse\", \"b\": \"native\"}"));
  CHECK(read_kernel_choices(path) == choices);
  for (const char* text : {"{\"format\": \"sculpt-kernel-choices-3\", \"choices\": {}}",
                           "{\"format\": \"sculpt-kernel-choices-3\", \"b\": \"native\"}"}) {
    write_file(path, std::string_view(text));
    const std::string message = error_of([&] { read_kernel_choices(path); });
    check_newer(message, path, "sculpt-kernel-choices-3");
    CHECK(contains(message, "delete the file"));
    CHECK_FALSE(contains(message, "restore"));
    CHECK_FALSE(contains(message, "; or"));
  }
  write_file(path, std::string_view("{\"format\": \"sculpt-kernel-choices-2\", \"choices\": "
                                    "{\"a\": {\"deep\": \"value\"}}}"));
  const std::string message = error_of([&] { read_kernel_choices(path); });
  CHECK(contains(message, "'a' is of the type object, not native"));
  CHECK_FALSE(contains(message, "deep"));
  write_file(path, std::string_view("{\"format\": \"sculpt-kernel-choices-2\"}"));
  CHECK(contains(error_of([&] { read_kernel_choices(path); }), "no object 'choices'"));
}

TEST_CASE("formats: model.init_from refuses a newer checkpoint, and reads other programs' files") {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.safetensors";
  const auto message = [&](const char* format) {
    safetensors::write(path, {}, {{"format", format}});
    return error_of([&] { NetworkFile::read(path, NetworkParts::both); });
  };
  for (const char* format : {"pt", "sculpt-checkpoint-2", "sculpt-checkpoint-1", "sculpt-state-3"})
    CHECK(message(format).empty());
  check_newer(message("sculpt-checkpoint-3"), path, "sculpt-checkpoint-3");
  check_newer(message("sculpt-state-4"), path, "sculpt-state-4");
}

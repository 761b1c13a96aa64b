// kernel_choices.json: choices between kernels that a run folder records.

#include "engine/run/kernel_choices.h"

#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/run/run_store.h"
#include "tests/support/temporary_folder.h"

namespace sculpt {
namespace {

using kernels::Choice;
using testing::contains;
using testing::error_of;
using testing::TemporaryFolder;

const kernels::Choices kChoices = {{"forward \"a\"\t\\", Choice::sparse},
                                   {"weight_grad", Choice::native},
                                   {"input_grad", Choice::library}};

TEST_CASE("kernel choices: survive their file exactly") {
  TemporaryFolder folder;
  const auto path = folder / "kernel_choices.json";
  CHECK(read_kernel_choices(path).empty());
  write_file(path, kernel_choices_json(kChoices));
  CHECK(read_kernel_choices(path) == kChoices);
  write_file(path, kernel_choices_json({}));
  CHECK(read_kernel_choices(path).empty());
}

TEST_CASE("kernel choices: a damaged file is an error that names it and the fix") {
  TemporaryFolder folder;
  const auto path = folder / "kernel_choices.json";
  for (const char* text :
       {"", "[]", "3", "{\"a\": 1}", "{\"a\": \"fast\"}", "{\"a\": \"sparse\""}) {
    CAPTURE(text);
    write_file(path, std::string_view(text));
    const std::string error = error_of([&] { read_kernel_choices(path); });
    CHECK(contains(error, path.string()));
    CHECK(contains(error, "delete it"));
  }
}

TEST_CASE("kernel choices: the run store writes them when they change") {
  TemporaryFolder folder;
  const RunFolder run(folder / "run");
  std::filesystem::create_directories(run.root());
  RunStore store(run, "");
  store.save_kernel_choices({});
  CHECK_FALSE(std::filesystem::exists(run.kernel_choices()));
  store.save_kernel_choices(kChoices);
  CHECK(read_kernel_choices(run.kernel_choices()) == kChoices);
  std::filesystem::remove(run.kernel_choices());
  store.save_kernel_choices(kChoices);  // has them
  CHECK_FALSE(std::filesystem::exists(run.kernel_choices()));
  auto more = kChoices;
  more["another"] = Choice::native;
  store.save_kernel_choices(more);
  CHECK(read_kernel_choices(run.kernel_choices()) == more);
}

}  // namespace
}  // namespace sculpt

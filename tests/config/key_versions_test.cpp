// Keys that have got other names, and the format that a config carries.

#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "tests/config/sample.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using sculpt::testing::contains;
using sculpt::testing::error_of;
using sculpt::testing::Sample;

namespace {

// Old names in a section of today, in one that is gone, and at the top; one old name is a new
// leaf, too.
constexpr RenamedKey kRenamed[] = {
    {"train.rate_of_old", "train.rate"},
    {"optimizer.lr", "train.lr"},
    {"mirror", "data.flip"},
};

Sample read_renamed(const std::string& toml, const std::vector<std::string>& settings = {},
                    std::map<std::string, std::string>* old_names = nullptr) {
  ConfigDocument document = ConfigDocument::from_text(toml, "x.toml", kRenamed);
  for (const std::string& s : settings)
    document.set(s);
  Sample sample;
  read_config(document, sample.sections());
  if (old_names != nullptr) *old_names = document.old_names();
  return sample;
}

}  // namespace

TEST_CASE("config: old names of keys are read, and reported") {
  std::map<std::string, std::string> old_names;
  const Sample s = read_renamed("mirror = false\n[optimizer]\nlr = 3\n[train]\nepochs = 4\n",
                                {"train.rate_of_old=0.25"}, &old_names);
  CHECK_FALSE(s.flip);
  CHECK(s.lr == 3.0);
  CHECK(s.rate == 0.25);
  CHECK(s.epochs == 4);
  CHECK(old_names == std::map<std::string, std::string>{{"mirror", "data.flip"},
                                                        {"optimizer.lr", "train.lr"},
                                                        {"train.rate_of_old", "train.rate"}});
  read_renamed("[train]\nlr = 1\n[optimizer]\n", {}, &old_names);  // an old section may be empty
  CHECK(old_names.empty());
  // --set replaces a value of the file, whichever names the two have.
  CHECK(read_renamed("[optimizer]\nlr = 3\n", {"train.lr=2"}).lr == 2.0);
  CHECK(read_renamed("[train]\nlr = 3\n", {"optimizer.lr=2"}).lr == 2.0);
  CHECK(read_renamed("", {"optimizer.lr=2", "optimizer.lr=2"}).lr == 2.0);
  CHECK(flatten_config("[optimizer]\nlr = 3.0\n", "x", kRenamed).at("train.lr") == "3.0");
}

TEST_CASE("config: mistakes with old names of keys") {
  struct Case {
    const char* toml;
    std::vector<std::string> settings;
    std::vector<std::string> expected;
  };
  const std::vector<Case> cases = {
      {"[optimizer]\nlr = 1\n[train]\nlr = 1\n",
       {},
       {"x.toml:2", "optimizer.lr is the old name of train.lr", "x.toml:4",
        "take optimizer.lr out"}},
      {"",
       {"optimizer.lr=1", "train.lr=1"},
       {"--set train.lr=1", "optimizer.lr and train.lr are the old and the new name of one key"}},
      {"",
       {"optimizer.lr=2", "optimizer.lr=1"},
       {"--set optimizer.lr=1", "--set optimizer.lr=2 gives train.lr another value"}},
      {"", {"train.lr=1", "optimizer.lr=1"}, {"--set optimizer.lr=1", "give only train.lr"}},
      {"[optimizer]\nlr = true\n", {}, {"x.toml:2", "train.lr (written optimizer.lr) must be"}},
      {"[optimizer]\nlr = 11\n", {}, {"train.lr (written optimizer.lr) = 11 is out of range"}},
      {"mirrer = false\n", {}, {"unknown key mirrer", "did you mean data.flip?"}},
      {"", {"optimizer.lrr=1"}, {"unknown key optimizer.lrr", "did you mean train.lr?"}},
      {"[optimiser]\n", {}, {"unknown section [optimiser]", "the sections are train, data"}},
  };
  for (const Case& c : cases) {
    const std::string message = error_of([&] { read_renamed(c.toml, c.settings); });
    CAPTURE(message);
    for (const std::string& part : c.expected)
      CHECK(contains(message, part));
  }
}

TEST_CASE("config: old names in a chain of bases") {
  const testing::TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    write_file(folder / name, text);
    return (folder / name).string();
  };
  write("old.toml", "mirror = false\n[optimizer]\nlr = 3\n");
  const std::string top = write("new.toml", "base = 'old.toml'\n[train]\nlr = 2\n");
  const ConfigDocument document = ConfigDocument::from_file(top, kRenamed);
  Sample s;
  read_config(document, s.sections());
  CHECK(s.lr == 2.0);  // its own, and not that of the base
  CHECK_FALSE(s.flip);
  CHECK(document.old_names().size() == 2);
  ConfigDocument with_set = ConfigDocument::from_file(top, kRenamed);
  with_set.set("optimizer.lr=1");
  read_config(with_set, s.sections());
  CHECK(s.lr == 1.0);
  write("new.toml", "mirror = true\n[optimizer]\nlr = 2\n");  // the other way round
  read_config(ConfigDocument::from_file(
                  write("a.toml", "base = 'new.toml'\n[data]\nflip = false\n"), kRenamed),
              s.sections());
  CHECK_FALSE(s.flip);
  CHECK(s.lr == 2.0);
}

TEST_CASE("config: a file carries its format, and a newer one is refused") {
  Sample s;
  CHECK(write_config(s.sections()).starts_with("format = \"sculpt-config-2\"\n"));
  CHECK(read_renamed("format = \"sculpt-config-2\"\n[train]\nepochs = 3\n").epochs == 3);
  CHECK(read_renamed("format = \"sculpt-config-1\"\n[train]\nepochs = 3\n").epochs == 3);
  CHECK(flatten_config(write_config(s.sections()), "x").count("format") == 0);
  const auto message = [](const char* toml) { return error_of([&] { read_renamed(toml); }); };
  const std::string newer = message("# from the future\nformat = \"sculpt-config-3\"\nfoo = 1\n");
  for (const char* part : {"x.toml:2", "sculpt-config-3", "newer", "sculpt-config-2"})
    CHECK(contains(newer, part));
  CHECK(contains(message("format = \"sculpt-summary-1\"\n"), "'sculpt-summary-1'"));
  CHECK(contains(message("format = 2\n"), "format must be \"sculpt-config-2\", not 2"));
  // The base of a config is checked, too.
  const testing::TemporaryFolder folder;
  write_file(folder / "base.toml", "format = 'sculpt-config-9'\n");
  write_file(folder / "top.toml", "base = 'base.toml'\n");
  CHECK(contains(error_of([&] { ConfigDocument::from_file((folder / "top.toml").string()); }),
                 "base.toml:1"));
}

TEST_CASE("config: keys can be left out when a config is written") {
  Sample s;
  const std::string toml = write_config(s.sections(), {"train.lr", "method"});
  CHECK_FALSE(contains(toml, "lr ="));
  CHECK_FALSE(contains(toml, "method ="));
  const auto all = flatten_config(write_config(s.sections()), "x"),
             rest = flatten_config(toml, "x");
  CHECK(rest.size() == all.size() - 2);
}

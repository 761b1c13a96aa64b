// Reading, writing and describing configs through option structs.

#include "engine/config/config.h"

#include <doctest/doctest.h>

#include "engine/config/number_meant.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/nearest_name.h"
#include "engine/train/train_options.h"
#include "tests/config/sample.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using sculpt::testing::contains;
using sculpt::testing::error_of;
using sculpt::testing::Sample;

namespace {

Sample read(const std::string& toml, const std::vector<std::string>& settings = {}) {
  ConfigDocument document = ConfigDocument::from_text(toml, "x.toml");
  for (const std::string& s : settings)
    document.set(s);
  Sample sample;
  read_config(document, sample.sections());
  return sample;
}

}  // namespace

TEST_CASE("config: values of every type, from file and --set") {
  const Sample s = read(
      "method = 'cyclic'\nplan = ['train 1', \"rewind 0\"]\n[train]\nepochs = 7\nlr = 1\n"
      "milestones = [0.5, 1]\n[data]\nflip = false\nroot = 'a b'\n");
  CHECK(s.method == "cyclic");
  CHECK(s.plan == std::vector<std::string>{"train 1", "rewind 0"});
  CHECK(s.epochs == 7);
  CHECK(s.lr == 1.0);  // whole numbers are numbers
  CHECK(s.rate == 0.5);
  CHECK_FALSE(s.flip);
  CHECK(s.root == "a b");
  CHECK(s.milestones == std::vector<double>{0.5, 1.0});

  const Sample t =
      read("[train]\nepochs = 7\n",
           {"train.epochs=9", "method = sculpt", "train.epochs = 9", "data.root=2024",
            "train.milestones=[0.1]", "train.lr=1e-3", "plan=['train 2']", "data.flip=false"});
  CHECK(t.epochs == 9);  // a value may be given again
  CHECK(t.method == "sculpt");
  CHECK(t.root == "2024");
  CHECK(t.milestones == std::vector<double>{0.1});
  CHECK(t.lr == 1e-3);
  CHECK(t.plan == std::vector<std::string>{"train 2"});
  CHECK_FALSE(t.flip);
  CHECK(read("", {"data.root=/a/b c"}).root == "/a/b c");
  CHECK(read("", {"data.root=2024-01-01"}).root == "2024-01-01");
  CHECK(read("", {"data.root="}).root == "");
}

TEST_CASE("config: a word or a count, from file and --set, written as it was meant") {
  CHECK(read("").keep == "none");
  CHECK(read("[data]\nkeep = 'cycles'\n").keep == "cycles");
  CHECK(read("[data]\nkeep = 3\n").keep == "3");
  CHECK(read("", {"data.keep=12"}).keep == "12");
  CHECK(read("", {"data.keep=cycles"}).keep == "cycles");
  Sample three;
  three.keep = "3";
  const std::string toml = write_config(three.sections());
  CHECK(toml.find("keep = 3\n") != std::string::npos);
  CHECK(read(toml).keep == "3");
  CHECK(read(write_config(Sample().sections())).keep == "none");
}

TEST_CASE("config: each mistake gets a message with place, key and fix") {
  struct Case {
    const char* toml;
    std::vector<std::string> settings;
    std::vector<std::string> expected;
  };
  const std::vector<Case> cases = {
      {"[train]\nepoch = 3\n", {}, {"x.toml:2", "unknown key train.epoch", "train.epochs"}},
      {"[train]\nlr = 1\n\nmilestone = [1]", {}, {"x.toml:4", "did you mean train.milestones?"}},
      {"[trian]\nepochs = 3\n", {}, {"x.toml:2", "trian.epochs", "did you mean train.epochs?"}},
      {"epochs = 3\n", {}, {"x.toml:1", "unknown key epochs", "did you mean train.epochs?"}},
      {"[data]\nlr = 3\n", {}, {"x.toml:2", "did you mean train.lr?"}},
      {"[data]\nkeep = 0\n", {}, {"x.toml:2", "data.keep = 0", "at least 1", "none, cycles"}},
      {"[data]\nkeep = 'cycle'\n", {}, {"did you mean \"cycles\"?", "at least 1"}},
      {"[data]\nkeep = '3'\n", {}, {"data.keep", "write 3"}},
      {"[data]\nkeep = 1.5\n", {}, {"data.keep must be a whole number or one of none, cycles"}},
      {"train = 3\n", {}, {"x.toml:1", "[train] is a section"}},
      {"quux = 3\n", {}, {"x.toml:1", "unknown key quux (", "--help-config"}},
      {"method = 'sclupt'\n",
       {},
       {"x.toml:1", "did you mean \"sculpt\"?", "dense, sculpt, cyclic"}},
      {"method = 'xyzzy'\n", {}, {"method = \"xyzzy\" is not known;", "dense, sculpt, cyclic"}},
      {"method = 3\n", {}, {"x.toml:1", "method must be a text", "3"}},
      {"[train]\nepochs = '3'\n", {}, {"x.toml:2", "train.epochs must be a whole number", "\"3\""}},
      {"[train]\nepochs = 3.5\n",
       {},
       {"train.epochs must be a whole number from 1 to 1000", "3.5"}},
      {"[train]\nepochs = 0\n",
       {},
       {"x.toml:2", "train.epochs = 0 is out of range", "from 1 to 1000"}},
      {"[train]\nepochs = 1001\n", {}, {"train.epochs = 1001", "from 1 to 1000"}},
      {"[train]\nlr = true\n", {}, {"train.lr must be a number from 0 to 10, not true"}},
      {"[train]\nlr = -1\n", {}, {"train.lr = -1 is out of range", "from 0 to 10"}},
      {"[train]\nlr = nan\n", {}, {"train.lr = nan is out of range"}},
      {"[train]\nlr = inf\n", {}, {"train.lr = inf is out of range"}},
      {"[train]\nrate = 1\n", {}, {"train.rate = 1 is out of range", "above 0 and below 1"}},
      {"[train]\nrate = 0.0\n", {}, {"train.rate = 0", "above 0 and below 1"}},
      {"[train]\nmilestones = 0.5\n", {}, {"train.milestones must be a list of numbers"}},
      {"[train]\nmilestones = [0.5,\n 7]\n",
       {},
       {"x.toml:3", "train.milestones = 7", "from 0 to 1"}},
      {"[train]\nmilestones = [0.5, 'a']\n", {}, {"train.milestones must be a number"}},
      {"[data]\nflip = 1\n", {}, {"data.flip must be true or false, not 1"}},
      {"[data]\nroot = 2024-01-01\n", {}, {"x.toml:2", "data.root is a date"}},
      {"plan = ['a', 3]\n", {}, {"plan must be a text in quotes, not 3"}},
      {"[[plan]]\ntrain = 3\n", {}, {"plan holds a table", "[plan]"}},
      {"lr = 1\nlr = 2\n", {}, {"x.toml:2"}},
      {"[train\n", {}, {"x.toml:1"}},
      {"a = \n", {}, {"x.toml:1"}},
      {"[train]\nlr = 1\n[data]\nflip = yes\n", {}, {"x.toml:4"}},
      {"", {"train.lrr=3"}, {"--set train.lrr=3", "did you mean train.lr?"}},
      {"", {"train.lr=fast"}, {"--set train.lr=fast", "train.lr must be a number", "\"fast\""}},
      {"", {"train.epochs=-4"}, {"--set train.epochs=-4", "train.epochs = -4", "from 1 to 1000"}},
      {"", {"train.lr"}, {"--set train.lr", "key=value"}},
      {"",
       {"train.lr=1", "train.lr=2"},
       {"--set train.lr=2", "--set train.lr=1 gives train.lr another value",
        "give one of the two"}},
      {"", {"=3"}, {"--set =3", "key=value"}},
      {"", {"method=dens"}, {"did you mean \"dense\"?"}},
      {"", {"train.epochs=3\nlr = 4"}, {"train.epochs must be a whole number"}},
  };
  for (const Case& c : cases) {
    const std::string message = error_of([&] { read(c.toml, c.settings); });
    CAPTURE(std::string(c.toml));
    CAPTURE(message);
    REQUIRE_FALSE(message.empty());
    for (const std::string& part : c.expected)
      CHECK(contains(message, part));
  }
}

TEST_CASE("config: a base gives the settings that a file does not have") {
  const testing::TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder / name).parent_path());
    write_file(folder / name, text);
    return (folder / name).string();
  };
  write("all.toml", "method = 'dense'\n[train]\nepochs = 9\nlr = 2\n[data]\nroot = 'r'\n");
  write("sub/middle.toml", "base = '../all.toml'\n[train]\nepochs = 8\n");
  const std::string top =
      write("sub/top.toml", "base = \"middle.toml\"\nmethod = 'cyclic'\n[data]\nflip = false\n");
  const auto read_file = [](const std::string& path, const std::vector<std::string>& settings) {
    ConfigDocument document = ConfigDocument::from_file(path);
    for (const std::string& s : settings)
      document.set(s);
    Sample sample;
    read_config(document, sample.sections());
    return sample;
  };
  const Sample s = read_file(top, {"train.lr=3"});
  CHECK(s.method == "cyclic");  // its own
  CHECK_FALSE(s.flip);
  CHECK(s.epochs == 8);  // of the base
  CHECK(s.root == "r");  // of the base's base
  CHECK(s.lr == 3.0);    // --set comes last

  const auto message_of = [&](const std::string& path) -> std::string {
    try {
      read_file(path, {});
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  const auto says = [&](const std::string& text, std::initializer_list<const char*> words) {
    const std::string message = message_of(write("bad.toml", text));
    CAPTURE(message);
    for (const char* word : words)
      CHECK(message.find(word) != std::string::npos);
  };
  says("base = 'gone.toml'\n", {"bad.toml:1", "there is no file", "gone.toml"});
  says("base = 3\n", {"bad.toml:1", "base must be the path of a config file"});
  says("\nbase = 'bad.toml'\n", {"bad.toml:2", "is its own base"});
  write("a.toml", "base = 'bad.toml'\n");
  says("base = 'a.toml'\n", {"a.toml:1", "bad.toml is its own base"});
  // A mistake in the base is named with the base's line.
  write("wrong.toml", "\n[train]\nepoch = 3\n");
  says("base = 'wrong.toml'\n", {"wrong.toml:3", "epochs"});
  // A section without keys counts, too, in the file and in its base.
  says("base = 'all.toml'\n[trian]\n", {"bad.toml:2", "trian"});
  write("empty.toml", "[trian]\n");
  says("base = 'empty.toml'\n", {"empty.toml:1", "trian"});
}

TEST_CASE("config: what is written reads back as the same values") {
  Sample s;
  s.method = "sculpt";
  s.plan = {"train 3", "quote \" and \\ and \t tab"};
  s.epochs = 123;
  s.lr = 0.1 + 0.2;
  s.rate = 1e-300;
  s.flip = false;
  s.root = "line\nbreak \x7f and ünicode";
  s.milestones = {1.0, 1.0 / 3, 5e-324};
  const std::string toml = write_config(s.sections());
  const Sample t = read(toml);
  CHECK(t.method == s.method);
  CHECK(t.plan == s.plan);
  CHECK(t.epochs == s.epochs);
  CHECK(t.lr == s.lr);
  CHECK(t.rate == s.rate);
  CHECK(t.flip == s.flip);
  CHECK(t.root == s.root);
  CHECK(t.milestones == s.milestones);
  Sample again = t;
  CHECK(write_config(again.sections()) == toml);
}

TEST_CASE("config: flattening and hashing see every value, and order does not matter") {
  const auto a = flatten_config("method = 'x'\n[train]\nlr = 1.0\nepochs = 3\n", "a");
  const auto b = flatten_config("[train]\nepochs = 3\nlr = 1.0\n[data]\n", "b");
  CHECK(a.at("train.lr") == "1.0");
  CHECK(a.at("method") == "\"x\"");
  CHECK(hash_config(a, {"method"}) == hash_config(b, {}));
  CHECK(hash_config(a, {}) != hash_config(b, {}));
  auto c = a;
  c["train.lr"] = "1.5";
  CHECK(hash_config(a, {}) != hash_config(c, {}));
  CHECK(hash_config(a, {"train.lr"}) == hash_config(c, {"train.lr"}));
}

TEST_CASE("config: descriptions name every key, default and range") {
  Sample s;
  const std::string markdown = describe_config_markdown(s.sections());
  CHECK(contains(markdown, "## [train]"));
  CHECK(contains(markdown, "| `epochs` | integer | `10` | from 1 to 1000 | how long |"));
  CHECK(contains(markdown, "| `lr` | number | `0.1` | from 0 to 10 | how fast \\| how far |"));
  CHECK(contains(markdown, "above 0 and below 1"));
  CHECK(contains(markdown, "`[0.25, 0.5]` | each from 0 to 1"));
  CHECK(contains(markdown, "one of dense, sculpt, cyclic"));
  const std::string text = describe_config_text(s.sections());
  for (const char* key : {"method", "plan", "train.epochs", "train.lr", "data.flip", "data.root"})
    CHECK(contains(text, std::string("  ") + key + " = "));
}

TEST_CASE("config: the nearest word") {
  const std::vector<std::string> words = {"train.epochs", "train.lr", "prune.rate", "magnitude"};
  CHECK(nearest("train.epcohs", words) == "train.epochs");
  CHECK(nearest("magnitud", words) == "magnitude");
  CHECK(nearest("prune.rat", words) == "prune.rate");
  CHECK(nearest("zzzzzzzzz", words) == "");
  CHECK(nearest("", words) == "");
}

TEST_CASE("config: the nearest word whatever the case") {
  const std::vector<std::string> words = {"snip", "synflow", "resnet20", "resnet50"};
  CHECK(nearest("SNIP", words) == "snip");
  CHECK(nearest("SYNFLOWS", words) == "synflow");
  CHECK(nearest("ResNet20", words) == "resnet20");
  CHECK(nearest("ResNet5O", words) == "resnet50");
  CHECK(nearest("MOBILENET", words) == "");
  // Two that differ in nothing but the case: the one that is nearer with it.
  CHECK(nearest("Aa", {"aA", "Aa", "aa"}) == "Aa");
  CHECK(did_you_mean("SNIP", words) == ", did you mean \"snip\"?");
  CHECK(did_you_mean("MOBILENET", words).empty());
  CHECK(same_but_for_case("LR", "lr"));
  CHECK_FALSE(same_but_for_case("LR", "lrr"));
  CHECK_FALSE(same_but_for_case("[", "{"));  // 'A' and 'a' differ by as much
}

TEST_CASE("config: numbers that TOML writes in another way") {
  CHECK(number_meant(".1") == "0.1");
  CHECK(number_meant("1.") == "1.0");
  CHECK(number_meant("+.5") == "0.5");
  CHECK(number_meant("-.5e-3") == "-0.0005");
  CHECK(number_meant(" 1.e3 ") == "1000.0");
  CHECK(number_meant("0,5") == "0.5");
  CHECK(number_meant("\"0.25\"") == "0.25");
  CHECK(number_meant("007") == "7");
  for (const char* text : {"", "e", "1e", "high", "1.2.3", "1,2,3", "0.1x", "inf", "nan", "++1"}) {
    CAPTURE(text);
    CHECK(number_meant(text).empty());
  }
  CHECK(numbers_meant("[.5, 1.]") == "[0.5, 1.0]");
  CHECK(numbers_meant(".5,.75") == "[0.5, 0.75]");
  for (const char* text : {"", "[]", "[.5, x]", "train 3"}) {
    CAPTURE(text);
    CHECK(numbers_meant(text).empty());
  }
}

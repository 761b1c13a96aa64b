// Measured choices between kernels: the rule, and the file that keeps them.

#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "kernels/device/conv_library.h"
#include "kernels/tuning/build_id.h"
#include "kernels/tuning/chooser.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace sculpt::kernels;
using sculpt::testing::contains;
using sculpt::testing::TemporaryFolder;

namespace fs = std::filesystem;

/// Collects warnings.
struct Warnings {
  std::vector<std::string> texts;
  Warn sink() {
    return [this](const std::string& text) { texts.push_back(text); };
  }
};

constexpr Timing kNativeWins = {10, 12};
constexpr Timing kLibraryWins = {10, 9};

std::string content_of(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

/// Returns the names of all files in a folder except the lock.
std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() != ".lock") names.push_back(entry.path().filename());
  return names;
}

/// Sets a variable of the environment for a scope.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() {
    if (before_)
      setenv(name_, before_->c_str(), 1);
    else
      unsetenv(name_);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("choices: the faster one, ours when equal") {
  CHECK(kNativeWins.faster() == Choice::native);
  CHECK(kLibraryWins.faster() == Choice::library);
  CHECK(Timing{5, 5}.faster() == Choice::native);
  CHECK(Timing{10, 9, Choice::sparse}.faster() == Choice::sparse);
  for (const Choice choice : {Choice::native, Choice::library, Choice::sparse})
    CHECK(choice_from(to_string(choice)) == choice);
  CHECK_FALSE(choice_from("Native").has_value());
}

TEST_CASE("choices: are kept for other processes, by machine and problem") {
  TemporaryFolder folder;
  Warnings warnings;
  const fs::path path = folder / "not/yet/choices.txt";
  ChoiceFile file(path, "gpu A; cuDNN 9.1; build 1", warnings.sink());
  CHECK_FALSE(file.find("forward").has_value());
  file.add("forward", kLibraryWins);
  file.add("input_grad", kNativeWins);
  file.add("with\ttab\nand line", kLibraryWins);
  CHECK(file.find("forward") == Choice::library);

  const ChoiceFile again(path, "gpu A; cuDNN 9.1; build 1", warnings.sink());
  CHECK(again.find("forward") == Choice::library);
  CHECK(again.find("input_grad") == Choice::native);
  CHECK(again.find("with\ttab\nand line") == Choice::library);
  for (const char* other :
       {"gpu B; cuDNN 9.1; build 1", "gpu A; cuDNN 9.2; build 1", "gpu A; cuDNN 9.1; build 2"})
    CHECK_FALSE(ChoiceFile(path, other, warnings.sink()).find("forward").has_value());
  CHECK(content_of(path) ==
        "sculpt choices 1\n"
        "gpu A; cuDNN 9.1; build 1\tforward\tlibrary\t10.00\t9.00\n"
        "gpu A; cuDNN 9.1; build 1\tinput_grad\tnative\t10.00\t12.00\n"
        "gpu A; cuDNN 9.1; build 1\twith tab and line\tlibrary\t10.00\t9.00\n");
  CHECK(files_in(path.parent_path()) == std::vector<std::string>{"choices.txt"});
  CHECK(warnings.texts.empty());
}

TEST_CASE("choices: what others wrote meanwhile stays") {
  TemporaryFolder folder;
  Warnings warnings;
  const fs::path path = folder / "choices.txt";
  ChoiceFile a(path, "m", warnings.sink()), b(path, "m", warnings.sink());
  CHECK(a.add("one", kLibraryWins) == Choice::library);
  b.add("two", kLibraryWins);
  a.add("three", kNativeWins);
  CHECK(b.add("one", kNativeWins) == Choice::library);
  const ChoiceFile all(path, "m", warnings.sink());
  CHECK(all.find("one") == Choice::library);
  CHECK(all.find("two") == Choice::library);
  CHECK(all.find("three") == Choice::native);
}

TEST_CASE("choices: many processes write at once and none loses a line") {
  TemporaryFolder folder;
  const fs::path path = folder / "choices.txt";
  constexpr int kProcesses = 6, kEach = 20;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      bool warned = false;
      ChoiceFile file(path, "m", [&](const std::string&) { warned = true; });
      for (int i = 0; i < kEach; ++i)
        file.add(std::to_string(process) + "-" + std::to_string(i), kLibraryWins);
      _exit(warned ? 1 : 0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  Warnings warnings;
  const ChoiceFile all(path, "m", warnings.sink());
  int found = 0;
  for (int process = 0; process < kProcesses; ++process)
    for (int i = 0; i < kEach; ++i)
      if (all.find(std::to_string(process) + "-" + std::to_string(i))) ++found;
  CHECK(found == kProcesses * kEach);
  CHECK(warnings.texts.empty());
  CHECK(files_in(folder.path()) == std::vector<std::string>{"choices.txt"});
}

TEST_CASE("choices: damaged lines cost their choice and one warning") {
  TemporaryFolder folder;
  const fs::path path = folder / "choices.txt";
  for (const char* line :
       {"m\tbad\tlibrary\t1", "m\tbad\tfast\t1\t2", "m\tbad\tlibrary\tx\t2",
        "m\tbad\tlibrary\t1\t2 ", "m\tbad\tlibrary\t-1\t2", "m\tbad\tlibrary\tnan\t2", "",
        "m\tbad\tlibrary\t1\t2\t3", "\x01\xff half a li"}) {
    CAPTURE(line);
    put(path, std::string("sculpt choices 1\nm\tgood\tlibrary\t3\t2\n") + line + "\n");
    Warnings warnings;
    ChoiceFile file(path, "m", warnings.sink());
    CHECK(file.find("good") == Choice::library);
    CHECK_FALSE(file.find("bad").has_value());
    file.add("bad", kNativeWins);
    REQUIRE(warnings.texts.size() == 1);
    CHECK(contains(warnings.texts[0], path.string() + ": 1 unreadable line"));
    // The file is written again without the damaged lines.
    Warnings none;
    CHECK(ChoiceFile(path, "m", none.sink()).find("bad") == Choice::native);
    CHECK(none.texts.empty());
  }
}

TEST_CASE("choices: a file of another version, or no such file at all, is left alone") {
  TemporaryFolder folder;
  const fs::path path = folder / "choices.txt";
  for (const char* text : {"sculpt choices 2\nm\tone\tlibrary\t3\t2\n",
                           "\x7f"
                           "ELF",
                           "\n\n"}) {
    put(path, text);
    Warnings warnings;
    ChoiceFile file(path, "m", warnings.sink());
    CHECK_FALSE(file.find("one").has_value());
    file.add("one", kNativeWins);
    CHECK(file.find("one") == Choice::native);  // for this process
    CHECK(content_of(path) == text);
    REQUIRE(warnings.texts.size() == 1);
    CHECK(contains(warnings.texts[0], path.string()));
    CHECK(contains(warnings.texts[0], "remove the file"));
  }
  put(path, "");  // a process that died before its first line
  Warnings warnings;
  ChoiceFile file(path, "m", warnings.sink());
  file.add("one", kNativeWins);
  CHECK(contains(content_of(path), "m\tone\tnative"));
  CHECK(warnings.texts.empty());
}

TEST_CASE("choices: a place that cannot be written is one warning") {
  TemporaryFolder folder;
  put(folder / "file", "not a folder");
  Warnings warnings;
  ChoiceFile file(folder / "file/choices.txt", "m", warnings.sink());
  file.add("one", kLibraryWins);
  file.add("two", kNativeWins);
  CHECK(file.find("one") == Choice::library);
  REQUIRE(warnings.texts.size() == 1);
  CHECK(contains(warnings.texts[0], "cannot write " + (folder / "file/choices.txt").string()));

  Warnings silent;
  ChoiceFile nowhere({}, "m", silent.sink());
  nowhere.add("one", kLibraryWins);
  CHECK(nowhere.find("one") == Choice::library);
  CHECK(silent.texts.empty());
}

TEST_CASE("choices: a full disk leaves the old file") {
  TemporaryFolder folder;
  const fs::path path = folder / "choices.txt";
  Warnings warnings;
  ChoiceFile file(path, "m", warnings.sink());
  file.add("one", kLibraryWins);
  const std::string before = content_of(path);
  // The temporary file is a device that is always full.
  fs::create_symlink("/dev/full", folder / ("choices.txt." + std::to_string(getpid()) + ".tmp"));
  file.add("two", kLibraryWins);
  CHECK(content_of(path) == before);
  CHECK(warnings.texts.size() == 1);
  CHECK(files_in(folder.path()) == std::vector<std::string>{"choices.txt"});
}

TEST_CASE("choices: the file lies in the cache folder of the user") {
  const Variable home("HOME", "/home/someone");
  {
    const Variable cache("XDG_CACHE_HOME", "/elsewhere");
    CHECK(default_choice_file() == "/elsewhere/sculpt/choices.txt");
  }
  const Variable cache("XDG_CACHE_HOME", "relative");
  CHECK(default_choice_file() == "/home/someone/.cache/sculpt/choices.txt");
  const Variable none("HOME", "");
  CHECK(default_choice_file().empty());
}

TEST_CASE("chooser: this process, then the resumed run, then the file, then a measurement") {
  TemporaryFolder folder;
  Warnings warnings;
  const fs::path path = folder / "choices.txt";
  ChoiceFile(path, "m", warnings.sink()).add("known", kLibraryWins);
  ChoiceFile(path, "m", warnings.sink()).add("recorded otherwise", kLibraryWins);

  int measured = 0;
  std::optional<Timing> next;
  const auto measure = [&] {
    ++measured;
    return next;
  };
  Chooser chooser({path, "m", warnings.sink()});
  chooser.recall({{"recorded otherwise", Choice::native}, {"recorded", Choice::library}});
  CHECK(chooser.choose("known", measure) == Choice::library);
  CHECK(chooser.choose("recorded otherwise", measure) == Choice::native);
  CHECK(chooser.choose("recorded", measure) == Choice::library);
  CHECK(measured == 0);

  next = kLibraryWins;
  CHECK(chooser.choose("new", measure) == Choice::library);
  next = kNativeWins;
  CHECK(chooser.choose("new", measure) == Choice::library);  // not measured again
  CHECK(measured == 1);
  next = std::nullopt;
  CHECK(chooser.choose("impossible", measure) == Choice::native);
  CHECK(measured == 2);
  CHECK(chooser.made() == Choices{{"known", Choice::library},
                                  {"recorded otherwise", Choice::native},
                                  {"recorded", Choice::library},
                                  {"new", Choice::library},
                                  {"impossible", Choice::native}});

  // The file has what was measured, and what a run recorded does not change it.
  const ChoiceFile kept(path, "m", warnings.sink());
  CHECK(kept.find("new") == Choice::library);
  CHECK(kept.find("recorded otherwise") == Choice::library);
  CHECK_FALSE(kept.find("recorded").has_value());
  CHECK_FALSE(kept.find("impossible").has_value());
  CHECK(warnings.texts.empty());
}

TEST_CASE("chooser: one of several processes leads, and the others measure nothing") {
  const auto measure_native = []() -> std::optional<Timing> { return kNativeWins; };
  const auto measure_library = []() -> std::optional<Timing> { return kLibraryWins; };
  Choice sent = Choice::native;
  Chooser leader({{}, "m", [](const std::string&) {}});
  leader.follow(true, [&](Choice own) { return sent = own; });
  Chooser other({{}, "m", [](const std::string&) {}});
  int measured = 0;
  other.follow(false, [&](Choice) { return sent; });
  other.recall({{"slow", Choice::native}});  // what this process has recorded does not count
  const auto count = [&]() -> std::optional<Timing> {
    ++measured;
    return kNativeWins;
  };
  for (const auto& [problem, measure] :
       {std::pair<const char*, Chooser::Measure>("slow", measure_library),
        std::pair<const char*, Chooser::Measure>("fast", measure_native)}) {
    const Choice led = leader.choose(problem, measure);
    CHECK(other.choose(problem, count) == led);
  }
  CHECK(leader.made() == Choices{{"slow", Choice::library}, {"fast", Choice::native}});
  CHECK(other.made() == leader.made());
  CHECK(measured == 0);
}

TEST_CASE("chooser: without a file everything is the library's, but for what it refuses") {
  Chooser chooser;
  CHECK_FALSE(chooser.measures());
  chooser.recall({{"recorded", Choice::native}});
  const auto measure = []() -> std::optional<Timing> {
    FAIL("measured");
    return std::nullopt;
  };
  CHECK(chooser.choose("recorded", measure) == Choice::library);
  CHECK(chooser.choose("new", measure) == Choice::library);
  CHECK(describe_fallbacks(chooser) == "");
  chooser.refuse("impossible", "no engine");
  CHECK(chooser.made() == Choices{{"recorded", Choice::library},
                                  {"new", Choice::library},
                                  {"impossible", Choice::native}});
  CHECK(describe_fallbacks(chooser) ==
        "execution.conv = cudnn: Sculpt's own kernels run 1 of 3 passes: impossible (no engine)");

  Chooser measuring({{}, "m", [](const std::string&) {}});
  measuring.refuse("impossible", "no engine");
  CHECK(describe_fallbacks(measuring) == "");  // nobody asked for the library
  CHECK(measuring.choose("impossible", measure) == Choice::native);
}

TEST_CASE("build id: of the program and of the C library, which differ") {
  const std::string own = build_id(reinterpret_cast<const void*>(&content_of));
  const std::string of_libc = build_id(reinterpret_cast<const void*>(&std::getenv));
  CHECK(own == build_id(reinterpret_cast<const void*>(&put)));
  for (const std::string& id : {own, of_libc}) {
    CHECK(id.size() >= 32);
    CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
  }
  CHECK(own != of_libc);
  int nowhere = 0;
  CHECK(build_id(&nowhere) == "");
}

// Records are appended, cut back to a checkpoint, and read from damaged files.

#include "engine/run/record_file.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "engine/core/files.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

constexpr FileFormat kFormat{"sculpt-metrics", 2};

std::string record(int epoch, const std::string& text = "a { \"b\\\" }") {
  const nlohmann::ordered_json json = {{"epoch", epoch}, {"text", text}, {"x", {{"y", 1}}}};
  return json.dump() + "\n";
}

std::string records(int from, int to) {
  std::string text;
  for (int epoch = from; epoch <= to; ++epoch)
    text += record(epoch);
  return text;
}

struct Kept {
  int64_t count;
  std::string text;
  std::vector<std::string> warnings;
};

/// The file with this content, cut back to a checkpoint after `epochs` epochs.
Kept keep(const TemporaryFolder& folder, const std::string& content, int epochs) {
  const fs::path path = folder / "metrics.jsonl";
  write_file(path, content);
  std::vector<std::string> warnings;
  const int64_t count = RecordFile(path, kFormat).keep({epochs, "epoch", epochs}, warnings);
  return {count, read_text(path), warnings};
}

}  // namespace

TEST_CASE("records: grow, and are cut back to what a checkpoint knows") {
  TemporaryFolder folder;
  RecordFile file(folder / "metrics.jsonl", kFormat);
  std::vector<std::string> warnings;
  CHECK(file.empty());
  CHECK(file.keep({0, "epoch", 0}, warnings) == 0);  // a missing file has no records
  CHECK_FALSE(fs::exists(folder / "metrics.jsonl"));
  file.append(record(1));
  file.append(records(2, 3));
  CHECK_FALSE(file.empty());
  CHECK(read_text(folder / "metrics.jsonl") == records(1, 3));
  CHECK(file.keep({3, "epoch", 3}, warnings) == 3);
  CHECK(read_text(folder / "metrics.jsonl") == records(1, 3));
  file.append(record(4).substr(0, 9));  // a process killed in the middle
  CHECK(file.keep({3, "epoch", 3}, warnings) == 3);
  CHECK(read_text(folder / "metrics.jsonl") == records(1, 3));
  CHECK(file.keep({1, "epoch", 1}, warnings) == 1);
  CHECK(read_text(folder / "metrics.jsonl") == record(1));
  CHECK(warnings.empty());
}

TEST_CASE("records: a lost line break is put back") {
  TemporaryFolder folder;
  std::string joined = records(1, 4);
  joined.erase(joined.find('\n', joined.find('\n') + 1), 1);
  const Kept middle = keep(folder, joined, 4);
  CHECK(middle.count == 4);
  CHECK(middle.text == records(1, 4));
  REQUIRE(middle.warnings.size() == 1);
  CHECK(contains(middle.warnings[0], "line breaks are repaired"));

  std::string without_end = records(1, 3);
  without_end.pop_back();
  const Kept last = keep(folder, without_end, 3);
  CHECK(last.count == 3);
  CHECK(last.text == records(1, 3));
  CHECK(last.warnings.size() == 1);

  // If only records newer than the checkpoint run together, the records of the checkpoint are
  // whole.
  std::string newer = records(1, 4);
  newer.erase(newer.size() - record(4).size() - 1, 1);
  const Kept cut = keep(folder, newer, 2);
  CHECK(cut.text == records(1, 2));
  CHECK(cut.warnings.empty());
}

TEST_CASE("records: what cannot be read is kept aside, and the rest is used") {
  TemporaryFolder folder;
  const std::string bad = record(1) + "{\"epoch\": 2, \"te\n" + records(3, 5);
  const Kept kept = keep(folder, bad, 4);
  CHECK(kept.count == 3);
  CHECK(kept.text == record(1) + records(3, 4));
  REQUIRE(kept.warnings.size() == 1);
  CHECK(contains(kept.warnings[0], "3 of the 4 records"));
  const fs::path aside = folder / "metrics.damaged-1.jsonl";
  CHECK(contains(kept.warnings[0], aside.string()));
  CHECK(read_text(aside) == bad);

  // Something between whole records; and a second damaged file beside the first.
  const std::string more = record(1) + "garbage\n" + records(2, 3);
  const Kept whole = keep(folder, more, 3);
  CHECK(whole.count == 3);
  CHECK(whole.text == records(1, 3));
  CHECK(whole.warnings.size() == 1);
  CHECK(read_text(folder / "metrics.damaged-2.jsonl") == more);
}

TEST_CASE("records: a line with the format of something else is not a record") {
  for (const char* format :
       {"\"garbage\"", "{}", "3", "null", "\"\"", "\"sculpt-metrics-0\"", "\"sculpt-layers-1\""}) {
    CAPTURE(format);
    TemporaryFolder folder;
    const std::string other = "{\"format\":" + std::string(format) + ",\"epoch\":2}\n";
    const std::string content = record(1) + other + record(3);
    const Kept kept = keep(folder, content, 3);
    CHECK(kept.count == 2);
    CHECK(kept.text == record(1) + record(3));
    REQUIRE(kept.warnings.size() == 1);
    CHECK(contains(kept.warnings[0], "2 of the 3 records"));
    CHECK(read_text(folder / "metrics.damaged-1.jsonl") == content);
  }
  for (const char* format : {"sculpt-metrics-1", "sculpt-metrics-2"}) {
    TemporaryFolder folder;
    const std::string known = "{\"format\":\"" + std::string(format) + "\",\"epoch\":1}\n";
    CHECK(keep(folder, known, 1).warnings.empty());
  }
}

TEST_CASE("records: a lost record is not replaced by a newer one") {
  TemporaryFolder folder;
  const Kept kept = keep(folder, record(1) + records(3, 6), 4);
  CHECK(kept.count == 3);
  CHECK(kept.text == record(1) + records(3, 4));
  CHECK(kept.warnings.size() == 1);
  std::vector<std::string> warnings;
  fs::remove(folder / "metrics.jsonl");
  CHECK(RecordFile(folder / "metrics.jsonl", kFormat).keep({4, "epoch", 4}, warnings) == 0);
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "is missing, so 4 records are lost"));
}

TEST_CASE("records: any byte lost or changed costs one record at most, and never in silence") {
  const std::string good = records(1, 4);
  for (size_t place = 0; place < good.size(); ++place) {
    CAPTURE(place);
    for (const bool lost : {true, false}) {
      TemporaryFolder folder;
      std::string bad = good;
      lost ? bad.erase(place, 1) : bad.replace(place, 1, "\n");
      if (bad == good) continue;
      const Kept kept = keep(folder, bad, 4);
      CHECK(kept.count >= 3);
      CHECK(kept.count == std::count(kept.text.begin(), kept.text.end(), '\n'));
      // A record may be changed so that it is still one; nobody can notice that.
      if (kept.text != bad) CHECK(kept.warnings.size() == 1);
      if (kept.count < 4) CHECK(read_text(folder / "metrics.damaged-1.jsonl") == bad);
    }
  }
}

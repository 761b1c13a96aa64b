#include "engine/study/index_file.h"

#include "engine/core/error.h"
#include "engine/study/run_index.h"

#ifdef SCULPT_HAVE_SQLITE

#include <fmt/format.h>
#include <memory>
#include <sqlite3.h>
#include <unistd.h>

namespace sculpt {
namespace {

namespace fs = std::filesystem;

// The number grows with every change of the tables. A file with another number is not read.
constexpr int kVersion = 1;

constexpr const char* kTables = R"(
CREATE TABLE runs(id INTEGER PRIMARY KEY, folder TEXT UNIQUE NOT NULL, status TEXT NOT NULL,
                  method TEXT, seed INTEGER, stamp TEXT NOT NULL);
CREATE TABLE settings(run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL, value TEXT NOT NULL,
                      PRIMARY KEY(run, key)) WITHOUT ROWID;
CREATE TABLE results(run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL, value REAL NOT NULL,
                     PRIMARY KEY(run, key)) WITHOUT ROWID;
)";

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
struct FinishStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

class Database {
 public:
  /// Errors begin with `failure`, and end with the reason and `fix`.
  Database(const fs::path& file, int flags, std::string failure, std::string fix)
      : failure_(std::move(failure)), fix_(std::move(fix)) {
    sqlite3* opened = nullptr;
    const int code = sqlite3_open_v2(file.c_str(), &opened, flags, nullptr);
    database_.reset(opened);
    require(code == SQLITE_OK);
  }

  void require(bool good) const {
    if (good) return;
    fail("{}: {}; {}", failure_, sqlite3_errmsg(database_.get()), fix_);
  }

  void run(const char* sql) const {
    require(sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  }

  sqlite3* get() const { return database_.get(); }

 private:
  const std::string failure_, fix_;
  std::unique_ptr<sqlite3, CloseDatabase> database_;
};

/// A statement with places for values, which are counted from 1, as SQLite does. Columns are
/// counted from 0.
class Statement {
 public:
  Statement(const Database& database, const char* sql) : database_(database) {
    sqlite3_stmt* made = nullptr;
    database.require(sqlite3_prepare_v2(database.get(), sql, -1, &made, nullptr) == SQLITE_OK);
    statement_.reset(made);
  }

  Statement& bind(int place, const std::string& text) {
    database_.require(sqlite3_bind_text(statement_.get(), place, text.data(),
                                        static_cast<int>(text.size()),
                                        SQLITE_TRANSIENT) == SQLITE_OK);
    return *this;
  }
  Statement& bind(int place, int64_t number) {
    database_.require(sqlite3_bind_int64(statement_.get(), place, number) == SQLITE_OK);
    return *this;
  }
  Statement& bind(int place, double number) {
    database_.require(sqlite3_bind_double(statement_.get(), place, number) == SQLITE_OK);
    return *this;
  }

  /// Returns true if there is a row.
  bool step() {
    const int code = sqlite3_step(statement_.get());
    database_.require(code == SQLITE_ROW || code == SQLITE_DONE);
    return code == SQLITE_ROW;
  }

  /// Executes a statement that has no rows, and makes it ready for other values.
  void execute() {
    step();
    database_.require(sqlite3_reset(statement_.get()) == SQLITE_OK);
  }

  std::string text(int column) const {
    const auto* bytes =
        reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
    return bytes == nullptr
               ? ""
               : std::string(bytes,
                             static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column)));
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  double real(int column) const { return sqlite3_column_double(statement_.get(), column); }

 private:
  const Database& database_;
  std::unique_ptr<sqlite3_stmt, FinishStatement> statement_;
};

void fill(const Database& database, const IndexEntries& entries) {
  Statement runs(database, "INSERT INTO runs VALUES(?, ?, ?, ?, ?, ?)");
  Statement settings(database, "INSERT INTO settings VALUES(?, ?, ?)");
  Statement results(database, "INSERT INTO results VALUES(?, ?, ?)");
  int64_t id = 0;
  for (const auto& [folder, entry] : entries) {
    ++id;
    const std::string seed = value_of(entry.row, "seed");
    runs.bind(1, id).bind(2, folder).bind(3, entry.row.status);
    runs.bind(4, value_of(entry.row, "method")).bind(5, seed).bind(6, entry.stamp).execute();
    for (const auto& [key, value] : entry.row.settings)
      settings.bind(1, id).bind(2, key).bind(3, value).execute();
    for (const auto& [key, value] : entry.row.results)
      results.bind(1, id).bind(2, key).bind(3, value).execute();
  }
}

}  // namespace

bool has_sqlite() {
  return true;
}

IndexEntries read_index(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return {};
  const Database database(file, SQLITE_OPEN_READONLY,
                          fmt::format("the index {} cannot be used", file.string()),
                          "remove it, and it is made again");
  Statement version(database, "PRAGMA user_version");
  if (!version.step() || version.integer(0) != kVersion) return {};
  std::map<int64_t, IndexEntry*> by_id;
  IndexEntries entries;
  Statement runs(database, "SELECT id, folder, status, stamp FROM runs");
  while (runs.step()) {
    IndexEntry& entry = entries[runs.text(1)];
    entry.row.folder = runs.text(1);
    entry.row.status = runs.text(2);
    entry.stamp = runs.text(3);
    by_id[runs.integer(0)] = &entry;
  }
  Statement settings(database, "SELECT run, key, value FROM settings");
  while (settings.step())
    if (const auto run = by_id.find(settings.integer(0)); run != by_id.end())
      run->second->row.settings[settings.text(1)] = settings.text(2);
  Statement results(database, "SELECT run, key, value FROM results");
  while (results.step())
    if (const auto run = by_id.find(results.integer(0)); run != by_id.end())
      run->second->row.results[results.text(1)] = results.real(2);
  return entries;
}

// The file is written as a whole, because two processes may do so at the same time, and because an
// interrupted write must leave a good file. An index of a thousand runs takes a fraction of a
// second.
void write_index(const fs::path& file, const IndexEntries& entries) {
  const fs::path temporary = fmt::format("{}.{}.tmp", file.string(), getpid());
  const std::string failure = fmt::format("the index {} cannot be written", file.string());
  const std::string fix = "make its folder writable, and free space on its disk";
  std::error_code error;
  fs::remove(temporary, error);
  try {
    const Database database(temporary, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, failure, fix);
    database.run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
    database.run("BEGIN");
    database.run(kTables);
    database.run(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
    fill(database, entries);
    database.run("COMMIT");
  } catch (const Error&) {
    fs::remove(temporary, error);
    throw;
  }
  fs::rename(temporary, file, error);
  if (!error) return;
  const std::string reason = error.message();
  fs::remove(temporary, error);
  fail("{}: {}; {}", failure, reason, fix);
}

}  // namespace sculpt

#else

namespace sculpt {

bool has_sqlite() {
  return false;
}

IndexEntries read_index(const std::filesystem::path&) {
  return {};
}

void write_index(const std::filesystem::path&, const IndexEntries&) {}

}  // namespace sculpt

#endif

#include "engine/run/lock_holder.h"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt {
namespace {

/// Returns the content of a file, or "" if the file cannot be read.
std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "unknown";
}

/// Identifies the set of processes among which a process number is unique. Two machines differ in
/// the boot id, two containers in the process namespace.
std::string machine_id() {
  std::string boot = text_of("/proc/sys/kernel/random/boot_id");
  while (!boot.empty() && boot.back() == '\n')
    boot.pop_back();
  char space[64] = {};
  if (boot.empty() || ::readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0) return "";
  return boot + " " + space;
}

struct ProcessStat {
  char state = '?';
  int64_t start_tick = 0;
};

/// Reads /proc/<process>/stat. Returns nothing if the file cannot be read.
std::optional<ProcessStat> stat_of(const std::string& process) {
  const std::string text = text_of("/proc/" + process + "/stat");
  // The second field is the program's name in brackets, which may itself hold blanks and brackets.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return std::nullopt;
  ProcessStat stat;
  stat.state = text[name_end + 2];
  constexpr int kStartTick = 22;
  size_t place = name_end + 2;  // the third field
  for (int field = 3; field < kStartTick; ++field) {
    place = text.find(' ', place);
    if (place == std::string::npos) return std::nullopt;
    ++place;
  }
  const auto result =
      std::from_chars(text.data() + place, text.data() + text.size(), stat.start_tick);
  if (result.ec != std::errc()) return std::nullopt;
  return stat;
}

std::string utc_text(std::time_t time) {
  std::tm parts{};
  char text[32] = {};
  ::gmtime_r(&time, &parts);
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

/// Returns the time at which a process with this start tick began, according to today's clock.
std::time_t start_time(int64_t start_tick) {
  timespec up{};
  ::clock_gettime(CLOCK_BOOTTIME, &up);
  const int64_t age = up.tv_sec - start_tick / ::sysconf(_SC_CLK_TCK);
  return std::time(nullptr) - static_cast<std::time_t>(age > 0 ? age : 0);
}

std::string random_token() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

}  // namespace

LockHolder this_process() {
  LockHolder self;
  self.host = host_name();
  self.machine = machine_id();
  self.pid = ::getpid();
  const auto stat = stat_of("self");
  if (stat) self.start_tick = stat->start_tick;
  self.started = utc_text(stat ? start_time(stat->start_tick) : std::time(nullptr));
  self.token = random_token();
  return self;
}

std::string path_in_lock(const std::filesystem::path& folder) {
  std::error_code error;
  LockHolder holder;
  holder.token = "0";
  holder.folder = std::filesystem::canonical(folder, error).string();
  const auto recorded = parse_holder(to_json(holder));
  return recorded ? recorded->folder : "";
}

std::string to_json(const LockHolder& holder) {
  const nlohmann::ordered_json json = {
      {"sculpt_lock", 1},          {"host", holder.host},       {"pid", holder.pid},
      {"started", holder.started}, {"machine", holder.machine}, {"start_tick", holder.start_tick},
      {"token", holder.token},     {"folder", holder.folder}};
  // The path of a folder may not be UTF-8.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::optional<LockHolder> parse_holder(const std::string& json) try {
  const auto values = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!values.is_object() || !values.contains("sculpt_lock")) return std::nullopt;
  LockHolder holder;
  values.at("host").get_to(holder.host);
  values.at("machine").get_to(holder.machine);
  values.at("pid").get_to(holder.pid);
  values.at("start_tick").get_to(holder.start_tick);
  values.at("started").get_to(holder.started);
  values.at("token").get_to(holder.token);
  holder.folder = values.value("folder", "");
  // The token becomes a part of a file's name.
  if (holder.token.empty() ||
      holder.token.find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  return holder;
} catch (const nlohmann::json::exception&) {
  return std::nullopt;
}

Life life_of(const LockHolder& holder) {
  const std::string here = machine_id();
  if (here.empty() || holder.machine != here || holder.host != host_name() || holder.pid <= 0)
    return Life::unknown;
  if (::kill(static_cast<pid_t>(holder.pid), 0) != 0 && errno == ESRCH) return Life::dead;
  const auto stat = stat_of(std::to_string(holder.pid));
  if (!stat) return Life::alive;  // /proc may hide the processes of other users
  const bool ended = stat->state == 'Z' || stat->state == 'X';  // it waits for its parent
  return ended || stat->start_tick != holder.start_tick ? Life::dead : Life::alive;
}

}  // namespace sculpt

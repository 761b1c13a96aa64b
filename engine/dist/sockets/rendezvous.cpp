#include "engine/dist/sockets/rendezvous.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <random>
#include <tuple>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt::sockets {
namespace {

constexpr const char* kVariable = "SCULPT_RENDEZVOUS";
constexpr const char* kFirstLine = "sculpt rendezvous 1";

std::string value_of(const Environment& environment, const char* name) {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

/// Returns the name of this start of the job; "" if no variable tells it.
std::string job_name(const Environment& environment) {
  std::string name = value_of(environment, "SCULPT_JOB");
  const std::string job = value_of(environment, "SLURM_JOB_ID");
  if (name.empty() && !job.empty()) {
    const std::string restarts = value_of(environment, "SLURM_RESTART_COUNT");
    name = fmt::format("slurm-{}-{}-{}", job, value_of(environment, "SLURM_STEP_ID"),
                       restarts.empty() ? "0" : restarts);
  }
  const auto is_plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  if (!std::ranges::all_of(name, is_plain) || name.size() > 128)
    fail(
        "the variable SCULPT_JOB is '{}', and not up to 128 letters, digits and characters of "
        "'.-_'",
        name);
  return name;
}

int listener_of(const Environment& environment) {
  const std::string text = value_of(environment, "SCULPT_LISTENER");
  if (text.empty()) return -1;
  int file = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), file);
  if (error != std::errc() || end != text.data() + text.size() || file < 0)
    fail("the variable SCULPT_LISTENER is '{}' and not the number of a file; remove it", text);
  return file;
}

std::string system_error(const std::string& what, const std::string& file) {
  return fmt::format("cannot {} the file {}, by which the ranks find each other: {}", what, file,
                     std::strerror(errno));
}

}  // namespace

std::optional<Rendezvous> find_rendezvous(const Environment& environment) {
  const std::string text = value_of(environment, kVariable);
  if (text.empty()) return std::nullopt;
  Rendezvous rendezvous;
  rendezvous.interface = value_of(environment, "SCULPT_INTERFACE");
  rendezvous.listener = listener_of(environment);
  const std::string job = job_name(environment);
  if (text.starts_with("tcp:")) {
    std::tie(rendezvous.host, rendezvous.port) = split_host_and_port(
        text.substr(4), fmt::format("the address in the variable {}", kVariable));
    rendezvous.token = job.empty() ? "-" : job;
    return rendezvous;
  }
  if (!text.starts_with("file:") || text.size() == 5)
    fail("the variable {} is '{}' and neither tcp:HOST:PORT nor file:FOLDER", kVariable, text);
  if (job.empty())
    fail(
        "{}={} needs a name that no earlier start of the run has had, so that the ranks cannot "
        "find a file of an earlier start; set the variable SCULPT_JOB to such a name, the same on "
        "all ranks",
        kVariable, text);
  const std::string folder = text.substr(5);
  if (!std::filesystem::is_directory(folder))
    fail("the variable {} names the folder {}, which is not there; make it, where all ranks see it",
         kVariable, folder);
  rendezvous.file = fmt::format("{}/sculpt-{}.rendezvous", folder, job);
  return rendezvous;
}

std::string random_token() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

void write_invitation(const std::string& file, const Invitation& invitation) {
  std::string text = fmt::format("{}\n{}\n", kFirstLine, invitation.token);
  for (const Address& address : invitation.addresses)
    text += address.text() + "\n";
  text += "end\n";
  // Two starts by mistake with the same name do not write the same file.
  const std::string written = file + "." + invitation.token;
  const int to = open(written.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (to < 0) fail("{}", system_error("write", file));
  const bool complete = write(to, text.data(), text.size()) == std::ssize(text);
  if (close(to) == 0 && complete && rename(written.c_str(), file.c_str()) == 0) return;
  const std::string problem = system_error("write", file);
  unlink(written.c_str());
  fail("{}", problem);
}

std::optional<Invitation> read_invitation(const std::string& file) {
  std::ifstream from(file);
  std::string line;
  Invitation invitation;
  if (!std::getline(from, line) || line != kFirstLine) return std::nullopt;
  if (!std::getline(from, invitation.token)) return std::nullopt;
  while (std::getline(from, line)) {
    if (line == "end") return invitation;
    invitation.addresses.push_back(address_of(line, "an address in " + file));
  }
  return std::nullopt;
}

}  // namespace sculpt::sockets

#include "engine/dist/sockets/team.h"

#include <algorithm>
#include <cstring>

namespace sculpt::sockets {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTick(100);
constexpr milliseconds kEndLimit(1000);

}  // namespace

void add_files(const Team& team, std::vector<pollfd>& files) {
  for (const auto& link : team.links)
    if (link) files.push_back(link->file());
}

void exchange_messages(const Team& team, milliseconds time) {
  thread_local std::vector<pollfd> files;
  files.clear();
  add_files(team, files);
  if (poll(files.data(), files.size(), static_cast<int>(time.count())) <= 0) return;
  auto file = files.begin();
  for (const auto& link : team.links) {
    if (!link) continue;
    const short ready = (file++)->revents;
    if ((ready & POLLOUT) != 0) link->flush();
    if ((ready & ~POLLOUT) != 0) link->receive();
  }
}

void close_links(const Team& team, std::optional<milliseconds> limit) {
  for (const auto& link : team.links)
    if (link) link->stop_sending();
  const auto is_open = [](const auto& link) {
    return link && !(link->is_closed() && link->is_sent());
  };
  const auto begin = Clock::now();
  while (std::ranges::any_of(team.links, is_open) && (!limit || Clock::now() - begin < *limit))
    exchange_messages(team, limit ? std::min(*limit, kTick) : kTick);
}

void tell_the_end(const Team& team, int exit_code) {
  for (const auto& link : team.links)
    if (link) link->send(MessageKind::end, std::as_bytes(std::span(&exit_code, 1)));
  close_links(team, kEndLimit);
}

void obey_the_end(const Team& team, const Message& message) {
  int exit_code = kExitRankLost;
  std::memcpy(&exit_code, message.bytes.data(), std::min(message.bytes.size(), sizeof exit_code));
  tell_the_end(team, exit_code);
  throw EndedByOthers{exit_code};
}

}  // namespace sculpt::sockets

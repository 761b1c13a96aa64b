#include "engine/dist/sockets/carrier.h"

#include <cstring>
#include <unistd.h>

#include "engine/core/error.h"
#include "engine/dist/sockets/meeting.h"
#include "engine/dist/sockets/transfers.h"

namespace sculpt::sockets {
namespace {

static_assert(std::is_trivially_copyable_v<Heartbeat>, "heartbeats travel as bytes");

}  // namespace

SocketCarrier::SocketCarrier(int rank, int size, const Rendezvous& rendezvous)
    : rendezvous_(rendezvous), left_(static_cast<size_t>(size), false) {
  team_.rank = rank;
  team_.size = size;
}

std::string SocketCarrier::library() const {
  return fmt::format("Sculpt's sockets {}", kAlgorithm);
}

void SocketCarrier::connect(std::chrono::duration<double> limit) {
  team_ = meet(rendezvous_, team_.rank, team_.size, limit);
}

std::unique_ptr<Transfer> SocketCarrier::start(const Operation& operation, Channel channel) {
  const Identity identity{channel, ++started_[static_cast<int>(channel)], operation.call()};
  return start_transfer(team_, operation, identity);
}

void SocketCarrier::progress() {
  exchange_messages(team_, std::chrono::milliseconds(0));
  for (int other = 0; other < team_.size; ++other)
    if (team_.links[static_cast<size_t>(other)]) take_messages(other);
}

void SocketCarrier::take_messages(int from) {
  while (const auto message = team_.link(from).take()) {
    if (message->kind == MessageKind::farewell) left_[static_cast<size_t>(from)] = true;
    if (message->kind == MessageKind::end) obey_the_end(team_, *message);
    if (message->kind != MessageKind::heartbeat) continue;
    Heartbeat beat;
    SCULPT_CHECK(message->bytes.size() == sizeof beat, "a heartbeat of {} bytes",
                 message->bytes.size());
    std::memcpy(&beat, message->bytes.data(), sizeof beat);
    beats_.emplace_back(from, beat);
  }
}

std::vector<int> SocketCarrier::gone() const {
  std::vector<int> ranks;
  for (int other = 0; other < team_.size; ++other) {
    const auto index = static_cast<size_t>(other);
    if (team_.links[index] && team_.links[index]->is_closed() && !left_[index])
      ranks.push_back(other);
  }
  return ranks;
}

void SocketCarrier::send(const Heartbeat& beat) {
  for (int other = team_.rank == 0 ? 1 : 0; other < (team_.rank == 0 ? team_.size : 1); ++other)
    if (!team_.link(other).is_busy())
      team_.link(other).send(MessageKind::heartbeat, std::as_bytes(std::span(&beat, 1)));
}

void SocketCarrier::receive(const Hear& hear) {
  for (const auto& [from, beat] : beats_)
    hear(from, beat);
  beats_.clear();
}

void SocketCarrier::finish() {
  for (const auto& link : team_.links)
    if (link) link->send(MessageKind::farewell);
  close_links(team_, std::nullopt);
}

void SocketCarrier::end_all_ranks(int exit_code) {
  tell_the_end(team_, exit_code);
  _exit(exit_code);
}

}  // namespace sculpt::sockets

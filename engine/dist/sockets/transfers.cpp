#include "engine/dist/sockets/transfers.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/core/error.h"

namespace sculpt::sockets {
namespace {

/// All algorithms send and receive pieces.
class Exchange : public Transfer {
 public:
  Exchange(const Team& team, const Identity& identity) : team_(team), identity_(identity) {}

 protected:
  /// Sends bytes in pieces; no bytes are one empty piece.
  void send(int to, std::span<const std::byte> bytes) {
    do {
      const size_t count = std::min(bytes.size(), kPiece);
      team_.link(to).send(identity_, bytes.first(count), unsent_);
      bytes = bytes.subspan(count);
    } while (!bytes.empty());
  }
  /// Returns the next piece from a rank, if it has arrived. Throws Error if it has more than `most`
  /// bytes.
  std::optional<Bytes> receive(int from, size_t most) {
    auto bytes = team_.link(from).take(identity_);
    if (bytes && bytes->size() > most)
      fail("rank {} has sent {} bytes where {} were expected", from, bytes->size(), most);
    return bytes;
  }
  bool is_sent() const { return unsent_ == 0; }

  const Team& team_;

 private:
  const Identity identity_;
  int64_t unsent_ = 0;  ///< pieces that wait to be sent
};

/// An operation that needs no messages.
class Nothing : public Transfer {
 public:
  bool test() override { return true; }
};

/// Adds the values in `bytes`, which are as many as there are in `to`.
template <class T>
void add(std::span<T> to, const Bytes& bytes) {
  // Bytes of the heap are aligned for every type.
  const T* const values = reinterpret_cast<const T*>(bytes.data());
  for (size_t i = 0; i < to.size(); ++i)
    to[i] += values[i];
}

/// Copies `bytes`, which are as many as there is room.
void copy(std::span<std::byte> to, const Bytes& bytes) {
  if (!to.empty()) std::memcpy(to.data(), bytes.data(), to.size());
}

template <class T>
class SmallSum : public Exchange {
 public:
  SmallSum(const Team& team, const Identity& identity, std::span<T> values)
      : Exchange(team, identity), values_(values) {
    if (team.rank != 0) send(0, std::as_bytes(values_));
  }

  bool test() override { return (team_.rank == 0 ? add_up() : receive_sum()) && is_sent(); }

 private:
  bool add_up() {
    for (; next_ < team_.size; ++next_) {
      const auto bytes = receive_all(next_);
      if (!bytes) return false;
      add(values_, *bytes);
    }
    if (std::exchange(done_, true)) return true;
    for (int to = 1; to < team_.size; ++to)
      send(to, std::as_bytes(values_));
    return true;
  }

  bool receive_sum() {
    if (done_) return true;
    const auto bytes = receive_all(0);
    if (!bytes) return false;
    copy(std::as_writable_bytes(values_), *bytes);
    return done_ = true;
  }

  /// An array this small is one piece.
  std::optional<Bytes> receive_all(int from) {
    static_assert(kSmallSum <= kPiece);
    auto bytes = receive(from, values_.size_bytes());
    SCULPT_CHECK(!bytes || bytes->size() == values_.size_bytes(), "a piece of a sum is missing");
    return bytes;
  }

  const std::span<T> values_;
  int next_ = 1;  ///< the rank whose values rank 0 adds next
  bool done_ = false;
};

/// Sums up an array along the ring of all R ranks, in 2 (R - 1) steps. A rank sends chunk `rank -
/// s` in step s and receives chunk `rank - s - 1` (modulo R), which it sends in the next step.
/// Received values are added in the first R - 1 steps and copied later. Pieces of a chunk are
/// passed on as they come.
template <class T>
class RingSum : public Exchange {
 public:
  RingSum(const Team& team, const Identity& identity, std::span<T> values)
      : Exchange(team, identity), values_(values), steps_(2 * (team.size - 1)) {
    send_what_is_ready();
  }

  bool test() override {
    while (receive_piece())
      send_what_is_ready();
    return received_.step == steps_ && sent_.step == steps_ && is_sent();
  }

 private:
  static constexpr size_t kValues = kPiece / sizeof(T);  // of a piece

  struct Position {
    int step = 0;
    size_t values = 0;  ///< of the step's chunk
  };

  std::span<T> chunk(int number) const {
    const auto size = static_cast<size_t>(team_.size);
    const auto index = static_cast<size_t>((number % team_.size + team_.size) % team_.size);
    const size_t begin = values_.size() * index / size;
    return values_.subspan(begin, values_.size() * (index + 1) / size - begin);
  }

  /// Values that are received in one step can be sent in the next.
  void send_what_is_ready() {
    while (sent_.step < steps_ && sent_.step <= received_.step + 1) {
      const std::span<T> all = chunk(team_.rank - sent_.step);
      const size_t ready = sent_.step <= received_.step ? all.size() : received_.values;
      if (ready > sent_.values)
        send(team_.next(), std::as_bytes(all.subspan(sent_.values, ready - sent_.values)));
      sent_.values = ready;
      if (ready < all.size()) return;
      sent_ = {sent_.step + 1, 0};
    }
  }

  bool receive_piece() {
    if (received_.step == steps_) return false;
    std::span<T> all = chunk(team_.rank - received_.step - 1);
    if (!all.empty()) {
      const size_t count = std::min(kValues, all.size() - received_.values);
      const auto bytes = receive(team_.previous(), count * sizeof(T));
      if (!bytes) return false;
      SCULPT_CHECK(bytes->size() == count * sizeof(T), "a piece of a sum is missing");
      const std::span<T> values = all.subspan(received_.values, count);
      if (received_.step < team_.size - 1)
        add(values, *bytes);
      else
        copy(std::as_writable_bytes(values), *bytes);
      received_.values += count;
    }
    if (received_.values == all.size()) received_ = {received_.step + 1, 0};
    return true;
  }

  const std::span<T> values_;
  const int steps_;
  Position sent_, received_;
};

/// Passes the array on around the ring until it comes to the rank before the root.
class Broadcast : public Exchange {
 public:
  Broadcast(const Team& team, const Identity& identity, std::span<std::byte> bytes, int root)
      : Exchange(team, identity), bytes_(bytes), passes_on_(team.next() != root) {
    if (team.rank != root) return;
    send(team.next(), bytes_);
    received_ = bytes_.size();
  }

  bool test() override {
    while (received_ < bytes_.size()) {
      const auto piece = receive(team_.previous(), bytes_.size() - received_);
      if (!piece) return false;
      const std::span<std::byte> to = bytes_.subspan(received_, piece->size());
      copy(to, *piece);
      received_ += piece->size();
      if (passes_on_) send(team_.next(), to);
    }
    return is_sent();
  }

 private:
  const std::span<std::byte> bytes_;
  const bool passes_on_;
  size_t received_ = 0;
};

/// Collects the texts of all ranks.
class Gather : public Exchange {
 public:
  Gather(const Team& team, const Identity& identity, const Operation& operation)
      : Exchange(team, identity),
        sizes_(operation.text_sizes()),
        all_(std::as_writable_bytes(std::span(operation.all_texts()))) {
    const auto own = std::as_bytes(std::span(operation.own_text()));
    if (team.rank == 0)
      std::ranges::copy(own, all_.begin());
    else if (!own.empty())
      send(0, own);
    received_ = team.rank == 0 ? own.size() : 0;
  }

  bool test() override {
    while (received_ < all_.size()) {
      // Rank 0 gets one text after the other, and the other ranks get all texts from rank 0.
      const int from = team_.rank == 0 ? rank_of_next_byte() : 0;
      const auto piece = receive(from, all_.size() - received_);
      if (!piece) return false;
      copy(all_.subspan(received_, piece->size()), *piece);
      received_ += piece->size();
    }
    if (team_.rank == 0 && !std::exchange(passed_on_, true) && !all_.empty())
      for (int to = 1; to < team_.size; ++to)
        send(to, all_);
    return is_sent();
  }

 private:
  int rank_of_next_byte() const {
    int rank = 0;
    for (auto end = static_cast<size_t>(sizes_[0]); end <= received_;)
      end += static_cast<size_t>(sizes_[static_cast<size_t>(++rank)]);
    return rank;
  }

  const std::vector<int64_t>& sizes_;
  const std::span<std::byte> all_;
  size_t received_ = 0;
  bool passed_on_ = false;
};

template <class T>
std::unique_ptr<Transfer> start_sum(const Team& team, const Operation& operation,
                                    const Identity& identity) {
  const std::span<T> values(static_cast<T*>(operation.data()),
                            static_cast<size_t>(operation.call().elements));
  if (values.size_bytes() <= kSmallSum)
    return std::make_unique<SmallSum<T>>(team, identity, values);
  return std::make_unique<RingSum<T>>(team, identity, values);
}

}  // namespace

std::unique_ptr<Transfer> start_transfer(const Team& team, const Operation& operation,
                                         const Identity& identity) {
  if (team.size == 1) return std::make_unique<Nothing>();
  switch (operation.call().kind) {
    case CallKind::none:
    case CallKind::end_of_sum:
    case CallKind::gpu_step:
      break;
    case CallKind::sum_float:
      return start_sum<float>(team, operation, identity);
    case CallKind::sum_double:
      return start_sum<double>(team, operation, identity);
    case CallKind::sum_int64:
    // A barrier is a sum of nothing.
    case CallKind::barrier:
    case CallKind::finish:
      return start_sum<int64_t>(team, operation, identity);
    case CallKind::broadcast:
      return std::make_unique<Broadcast>(team, identity,
                                         std::span(static_cast<std::byte*>(operation.data()),
                                                   static_cast<size_t>(operation.call().elements)),
                                         operation.root());
    case CallKind::gather:
      return std::make_unique<Gather>(team, identity, operation);
  }
  return std::make_unique<Nothing>();
}

}  // namespace sculpt::sockets

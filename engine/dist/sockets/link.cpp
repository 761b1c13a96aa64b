#include "engine/dist/sockets/link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/uio.h>

namespace sculpt::sockets {
namespace {

constexpr size_t kBuffer = 4 * kPiece;
/// A link that brings more is left for the next time, so that the others get their turn.
constexpr size_t kMostAtOnce = 16 * kBuffer;

}  // namespace

Link::Link(Socket socket) : socket_(std::move(socket)) {}

void Link::send(MessageKind kind, std::span<const std::byte> bytes) {
  const Header header{.kind = kind, .bytes = bytes.size(), .identity = {}};
  urgent_.push_back({header, {}, Bytes(bytes.begin(), bytes.end())});
  urgent_.back().bytes = urgent_.back().own;
  flush();
}

void Link::send(const Identity& identity, std::span<const std::byte> bytes, int64_t& unsent) {
  ++unsent;
  data_.push_back({{.bytes = bytes.size(), .identity = identity}, bytes, {}, &unsent});
  if (data_.size() == 1) flush();
}

void Link::flush() {
  while (!broken_ && !is_sent()) {
    std::deque<Outgoing>& queue = queue_to_send();
    Outgoing& message = queue.front();
    const auto header = std::as_bytes(std::span(&message.header, 1));
    const size_t total = header.size() + message.bytes.size();
    iovec parts[2];
    msghdr both{};
    both.msg_iov = parts;
    for (const auto& [bytes, before] :
         {std::pair(header, size_t{0}), std::pair(message.bytes, header.size())}) {
      const size_t skipped = std::min(bytes.size(), written_ - std::min(written_, before));
      if (skipped == bytes.size()) continue;
      parts[both.msg_iovlen++] = {const_cast<std::byte*>(bytes.data() + skipped),
                                  bytes.size() - skipped};
    }
    const ssize_t written = sendmsg(socket_.file(), &both, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      // receive() finds out what the other end has said before.
      broken_ = errno != EAGAIN && errno != EWOULDBLOCK;
      return;
    }
    written_ += static_cast<size_t>(written);
    data_begun_ = &queue == &data_ && written_ < total;
    if (written_ < total) continue;
    written_ = 0;
    if (message.unsent != nullptr) --*message.unsent;
    queue.pop_front();
  }
  if (stopping_ && is_sent()) shutdown(socket_.file(), SHUT_WR);
}

void Link::receive() {
  // A communication thread has many links, and uses one of them at a time.
  thread_local Bytes buffer(kBuffer);
  for (size_t total = 0; !closed_ && total < kMostAtOnce;) {
    const ssize_t count = recv(socket_.file(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count <= 0) {
      closed_ = true;
      return;
    }
    total += static_cast<size_t>(count);
    read_messages(std::span(buffer).first(static_cast<size_t>(count)));
    if (static_cast<size_t>(count) < buffer.size()) return;
  }
}

void Link::read_messages(std::span<const std::byte> arrived) {
  constexpr size_t kHeader = sizeof(Header);
  while (!arrived.empty() && !closed_) {
    const bool in_header = read_ < kHeader;
    const size_t wanted = in_header ? kHeader - read_ : incoming_bytes_.size() + kHeader - read_;
    const size_t count = std::min(wanted, arrived.size());
    std::byte* const to = in_header ? reinterpret_cast<std::byte*>(&incoming_) + read_
                                    : incoming_bytes_.data() + (read_ - kHeader);
    std::memcpy(to, arrived.data(), count);
    read_ += count;
    arrived = arrived.subspan(count);
    if (count < wanted) return;
    if (in_header) {
      // Somebody who speaks otherwise is not a rank of this program.
      closed_ = incoming_.magic != Header::kMagic || incoming_.bytes > kMostBytes;
      if (closed_) return;
      incoming_bytes_.resize(incoming_.bytes);
      if (incoming_.bytes > 0) continue;
    }
    accept_message();
  }
}

void Link::accept_message() {
  if (incoming_.kind == MessageKind::data)
    pieces_[incoming_.identity].push_back(std::move(incoming_bytes_));
  else
    messages_.push_back({incoming_.kind, std::move(incoming_bytes_)});
  incoming_bytes_ = {};
  read_ = 0;
}

std::optional<Message> Link::take() {
  if (messages_.empty()) return std::nullopt;
  Message message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

std::optional<Bytes> Link::take(const Identity& identity) {
  const auto found = pieces_.find(identity);
  if (found == pieces_.end()) return std::nullopt;
  Bytes bytes = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) pieces_.erase(found);
  return bytes;
}

void Link::stop_sending() {
  stopping_ = true;
  flush();
}

pollfd Link::file() const {
  const int events = (closed_ ? 0 : POLLIN) | (is_sent() ? 0 : POLLOUT);
  // poll() leaves out a file that is negative.
  return {events == 0 ? -1 : socket_.file(), static_cast<short>(events), 0};
}

}  // namespace sculpt::sockets

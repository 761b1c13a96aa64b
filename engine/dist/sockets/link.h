#pragma once
// The connection to one other rank. No function waits. Pieces of operations that this rank has not
// started yet are kept in memory until it takes them.

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <poll.h>
#include <span>
#include <string>

#include "engine/dist/sockets/message.h"
#include "engine/dist/sockets/socket.h"

namespace sculpt::sockets {

class Link {
 public:
  explicit Link(Socket socket);

  /// Sends a message of its own. It overtakes the pieces of operations that wait to be sent.
  void send(MessageKind kind, std::span<const std::byte> bytes = {});
  void send(MessageKind kind, const std::string& text) {
    send(kind, std::as_bytes(std::span(text)));
  }
  /// Returns true if such a message waits to be sent.
  bool is_busy() const { return !urgent_.empty(); }

  /// Sends a piece of an operation. The bytes stay where they are until `unsent`, which this
  /// function increases by 1, has been decreased.
  void send(const Identity& identity, std::span<const std::byte> bytes, int64_t& unsent);

  /// Sends what can be sent now.
  void flush();
  /// Receives what has arrived.
  void receive();

  /// Returns the next message that is not a piece of an operation.
  std::optional<Message> take();
  /// Returns the next piece of an operation.
  std::optional<Bytes> take(const Identity& identity);

  /// Tells the other end that nothing more will be sent, as soon as everything is sent.
  void stop_sending();
  /// Returns true if the other end has closed the connection, or if the connection is broken.
  bool is_closed() const { return closed_; }
  /// Returns true if everything is sent, or if nothing more can be sent.
  bool is_sent() const { return broken_ || (urgent_.empty() && data_.empty()); }

  /// Returns what poll() has to wait for.
  pollfd file() const;
  const Socket& socket() const { return socket_; }

 private:
  struct Outgoing {
    Header header;
    std::span<const std::byte> bytes;
    Bytes own;                  ///< holds the bytes of a message of its own
    int64_t* unsent = nullptr;  ///< of a piece of an operation
  };

  std::deque<Outgoing>& queue_to_send() { return data_begun_ || urgent_.empty() ? data_ : urgent_; }
  void read_messages(std::span<const std::byte> arrived);
  void accept_message();

  Socket socket_;
  bool closed_ = false, broken_ = false, stopping_ = false;

  std::deque<Outgoing> urgent_, data_;
  size_t written_ = 0;       ///< bytes of the message that is being sent, with its header
  bool data_begun_ = false;  ///< true if that message is a piece of an operation

  Header incoming_;
  size_t read_ = 0;  ///< bytes of the incoming message, with its header
  Bytes incoming_bytes_;
  std::deque<Message> messages_;
  std::map<Identity, std::deque<Bytes>> pieces_;
};

}  // namespace sculpt::sockets

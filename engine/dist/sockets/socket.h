#pragma once
// Sockets of TCP. None of them waits, none is passed on to programs that this process starts, and
// small messages leave at once. The system's own signs of life are off, because heartbeats judge.

#include <optional>
#include <string>
#include <utility>

#include "engine/dist/sockets/address.h"

namespace sculpt::sockets {

/// Owns a socket of the system.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int file) : file_(file) {}
  ~Socket();
  Socket(Socket&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }

  int file() const { return file_; }
  bool is_open() const { return file_ >= 0; }

 private:
  int file_ = -1;
};

/// Returns a socket that listens at one address of this host; port 0 means a free port. Throws
/// Error.
Socket listen_at(const Address& address);
/// Returns a socket that listens at all addresses of this host. Throws Error.
Socket listen_everywhere(int port);
/// Takes over a socket that listens already, as a launcher passes it on. Throws Error if `file` is
/// none.
Socket inherited_listener(int file);

/// Returns the next connection that somebody has made, or nothing.
std::optional<Socket> accept_from(const Socket& listener);

/// Starts to connect. The socket becomes writable when it is connected, or when that has failed.
/// Throws Error if it fails at once.
Socket start_connecting(const Address& address);
/// Returns why a connection has failed; "" if it has not.
std::string connection_error(const Socket& socket);

/// Returns the socket's address on this host.
Address local_address(const Socket& socket);

}  // namespace sculpt::sockets

#include "engine/dist/sockets/socket.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt::sockets {
namespace {

constexpr int kMostWaiting = 1024;

void set(int file, int level, int option, int value) {
  setsockopt(file, level, option, &value, sizeof value);
}

Socket new_socket(int family) {
  Socket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open())
    fail(
        "the system gives this program no socket: {}; a limit of open files (ulimit -n) may be "
        "too low",
        std::strerror(errno));
  return socket;
}

void prepare_connection(const Socket& socket) {
  set(socket.file(), IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket.file(), SOL_SOCKET, SO_KEEPALIVE, 0);
  // After a short cut of the network, heartbeats arrive again before a rank counts as lost. The
  // system would otherwise wait twice as long after each try.
  set(socket.file(), IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1);
}

/// Returns what is wrong, or "" if the socket listens now.
std::string start_listening(const Socket& socket, const Address& address) {
  set(socket.file(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(socket.file(), address.data(), address.size()) == 0 &&
      listen(socket.file(), kMostWaiting) == 0)
    return "";
  return std::strerror(errno);
}

Address any_address(int family, int port) {
  if (family == AF_INET6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_any;
    return Address(reinterpret_cast<sockaddr*>(&address), sizeof address).with_port(port);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  return Address(reinterpret_cast<sockaddr*>(&address), sizeof address).with_port(port);
}

}  // namespace

Socket::~Socket() {
  if (file_ >= 0) close(file_);
}

Socket listen_at(const Address& address) {
  Socket socket = new_socket(address.family());
  const std::string problem = start_listening(socket, address);
  if (!problem.empty()) fail("cannot listen at {}: {}", address.text(), problem);
  return socket;
}

Socket listen_everywhere(int port) {
  // A system without the protocol 6 refuses the first socket.
  for (const int family : {AF_INET6, AF_INET}) {
    const int file = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0 && family == AF_INET6) continue;
    Socket socket = file < 0 ? new_socket(family) : Socket(file);
    if (family == AF_INET6) set(file, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    const std::string problem = start_listening(socket, any_address(family, port));
    if (problem.empty()) return socket;
    if (family == AF_INET) fail("cannot listen at port {}: {}", port, problem);
  }
  return {};
}

Socket inherited_listener(int file) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (getsockopt(file, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0)
    fail(
        "the variable SCULPT_LISTENER is '{}', and that file is not a socket that listens; remove "
        "the variable",
        file);
  fcntl(file, F_SETFD, FD_CLOEXEC);
  fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK);
  return Socket(file);
}

std::optional<Socket> accept_from(const Socket& listener) {
  Socket socket(accept4(listener.file(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open()) return std::nullopt;
  prepare_connection(socket);
  return socket;
}

Socket start_connecting(const Address& address) {
  Socket socket = new_socket(address.family());
  prepare_connection(socket);
  if (connect(socket.file(), address.data(), address.size()) != 0 && errno != EINPROGRESS)
    fail("{}", std::strerror(errno));
  return socket;
}

std::string connection_error(const Socket& socket) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket.file(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? "" : std::strerror(error);
}

Address local_address(const Socket& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (getsockname(socket.file(), reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    fail("the system does not name the address of a socket: {}", std::strerror(errno));
  return {reinterpret_cast<const sockaddr*>(&storage), size};
}

}  // namespace sculpt::sockets

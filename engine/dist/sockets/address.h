#pragma once
// Addresses of the internet protocols 4 and 6, each with a port.

#include <cstdint>
#include <string>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace sculpt::sockets {

class Address {
 public:
  Address() = default;
  /// Takes an address of the system. An address of protocol 4 that is written as one of protocol 6
  /// becomes one of protocol 4.
  Address(const sockaddr* address, socklen_t size);

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return storage_.ss_family; }
  int port() const;
  Address with_port(int port) const;
  /// Returns true if the address reaches this host only.
  bool is_loopback() const;
  /// Returns "10.0.0.1:4711" or "[fd00::1]:4711".
  std::string text() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// Returns the addresses of a host, which is a name or an address. Throws Error if it has none.
std::vector<Address> resolve(const std::string& host, int port);

/// Reads what text() returns. Throws Error, with `what` in the message, if the text is something
/// else.
Address address_of(const std::string& text, const std::string& what);

/// Splits "HOST:PORT" or "[ADDRESS]:PORT". Throws Error, with `what` in the message, if the text
/// is neither.
std::pair<std::string, int> split_host_and_port(const std::string& text, const std::string& what);

/// Returns the addresses of this host by which others can reach it, with port 0: those of protocol
/// 4 first. A host without a network has its loopback address only. If `interface` is not empty,
/// returns the addresses of that interface; it is the interface's name or one of its addresses.
/// Throws Error if there are none.
std::vector<Address> addresses_of_this_host(const std::string& interface);

}  // namespace sculpt::sockets

#include "engine/dist/sockets/address.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

#include "engine/core/error.h"

namespace sculpt::sockets {
namespace {

template <class T>
T& as(sockaddr_storage& storage) {
  return reinterpret_cast<T&>(storage);
}
template <class T>
const T& as(const sockaddr_storage& storage) {
  return reinterpret_cast<const T&>(storage);
}

std::string host_text(const Address& address) {
  char host[NI_MAXHOST] = {};
  getnameinfo(address.data(), address.size(), host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

/// Returns true if other hosts can use the address. An address that is valid on one link only needs
/// the name of an interface, which differs from host to host.
bool is_usable(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr || (entry.ifa_flags & IFF_UP) == 0) return false;
  if (entry.ifa_addr->sa_family == AF_INET) return true;
  if (entry.ifa_addr->sa_family != AF_INET6) return false;
  const auto& address = reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr)->sin6_addr;
  return !IN6_IS_ADDR_LINKLOCAL(&address);
}

std::vector<Address> resolve(const std::string& host, int port, int flags) {
  addrinfo hints{};
  hints.ai_flags = flags;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) fail("the host {} has no address: {}", host, gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next)
    addresses.emplace_back(entry->ai_addr, entry->ai_addrlen);
  return addresses;
}

}  // namespace

Address::Address(const sockaddr* address, socklen_t size) : size_(size) {
  std::memcpy(&storage_, address, size);
  if (family() != AF_INET6) return;
  const sockaddr_in6 six = as<sockaddr_in6>(storage_);
  if (!IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) return;
  storage_ = {};
  auto& four = as<sockaddr_in>(storage_);
  four.sin_family = AF_INET;
  four.sin_port = six.sin6_port;
  std::memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], sizeof four.sin_addr);
  size_ = sizeof four;
}

int Address::port() const {
  return ntohs(family() == AF_INET6 ? as<sockaddr_in6>(storage_).sin6_port
                                    : as<sockaddr_in>(storage_).sin_port);
}

Address Address::with_port(int port) const {
  Address other = *this;
  const uint16_t value = htons(static_cast<uint16_t>(port));
  if (family() == AF_INET6)
    as<sockaddr_in6>(other.storage_).sin6_port = value;
  else
    as<sockaddr_in>(other.storage_).sin_port = value;
  return other;
}

bool Address::is_loopback() const {
  if (family() == AF_INET6) {
    const in6_addr& address = as<sockaddr_in6>(storage_).sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(&address) != 0;
  }
  return ntohl(as<sockaddr_in>(storage_).sin_addr.s_addr) >> 24 == 127;
}

std::string Address::text() const {
  const std::string host = host_text(*this);
  return family() == AF_INET6 ? fmt::format("[{}]:{}", host, port())
                              : fmt::format("{}:{}", host, port());
}

std::vector<Address> resolve(const std::string& host, int port) {
  return resolve(host, port, 0);
}

Address address_of(const std::string& text, const std::string& what) {
  const auto [host, port] = split_host_and_port(text, what);
  return resolve(host, port, AI_NUMERICHOST).front();
}

std::pair<std::string, int> split_host_and_port(const std::string& text, const std::string& what) {
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  int port = 0;
  const char* const end = text.data() + text.size();
  const char* const begin = colon == std::string::npos ? end : text.data() + colon + 1;
  const auto [rest, error] = std::from_chars(begin, end, port);
  if (host.empty() || error != std::errc() || rest != end || port < 1 || port > 65535)
    fail("{} is '{}' and not a host and a port, as in node1:4711 or [fd00::1]:4711", what, text);
  return {host, port};
}

std::vector<Address> addresses_of_this_host(const std::string& interface) {
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0)
    fail("the system does not name the addresses of this host: {}", std::strerror(errno));
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(found, freeifaddrs);
  std::vector<Address> addresses, loopback;
  for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
    if (!is_usable(*entry)) continue;
    const bool four = entry->ifa_addr->sa_family == AF_INET;
    const Address address(entry->ifa_addr, four ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (interface == entry->ifa_name || (!interface.empty() && interface == host_text(address)))
      addresses.push_back(address);
    if (!interface.empty()) continue;
    (address.is_loopback() ? loopback : addresses).push_back(address);
  }
  if (addresses.empty()) addresses = loopback;
  if (addresses.empty()) {
    if (interface.empty()) fail("this host has no address, not even a loopback address");
    fail(
        "SCULPT_INTERFACE is '{}', and this host has no interface with that name or address that "
        "is up",
        interface);
  }
  std::ranges::stable_sort(addresses, {}, [](const Address& a) { return a.family() != AF_INET; });
  return addresses;
}

}  // namespace sculpt::sockets

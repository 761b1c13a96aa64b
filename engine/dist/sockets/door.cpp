#include "engine/dist/sockets/door.h"

#include <algorithm>
#include <cctype>
#include <unistd.h>
#include <utility>

#include "engine/core/error.h"

namespace sculpt::sockets {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);

bool are_loopback(const std::vector<Address>& addresses) {
  return std::ranges::all_of(addresses, &Address::is_loopback);
}

/// Returns true if the host is an address of this host only, as it is written. The name of a host
/// may stand for such an address on that host, and for another one elsewhere.
bool is_written_as_loopback(const std::string& host) {
  const bool number = host.find(':') != std::string::npos ||
                      host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || (number && are_loopback(resolve(host, 0)));
}

std::vector<Address> with_port(std::vector<Address> addresses, int port) {
  for (Address& address : addresses)
    address = address.with_port(port);
  return addresses;
}

}  // namespace

std::optional<Hello> Visitor::take_hello() {
  link_->flush();
  link_->receive();
  const auto message = link_->take();
  if (!message || message->kind != MessageKind::hello) return std::nullopt;
  try {
    return hello_of(text_of(message->bytes));
  } catch (const Error&) {
    return std::nullopt;  // somebody who only looks like a rank
  }
}

std::unique_ptr<Link> Visitor::welcome() {
  link_->send(MessageKind::welcome);
  return std::move(link_);
}

bool Visitor::is_over() const {
  return !link_ || link_->is_closed() || Clock::now() - came_ > kPatience;
}

std::vector<Address> Door::open_for_all(const Rendezvous& rendezvous) {
  if (!rendezvous.host.empty()) {
    if (rendezvous.listener >= 0)
      listener_ = inherited_listener(rendezvous.listener);
    else if (is_written_as_loopback(rendezvous.host))
      listener_ = listen_at(resolve(rendezvous.host, rendezvous.port).front());
    else
      listener_ = listen_everywhere(rendezvous.port);
    description_ = fmt::format("{}:{}", rendezvous.host, rendezvous.port);
    return {};
  }
  const auto own = addresses_of_this_host(rendezvous.interface);
  listener_ = rendezvous.interface.empty() ? listen_everywhere(0) : listen_at(own.front());
  const auto addresses = with_port(rendezvous.interface.empty() ? own : std::vector{own.front()},
                                   local_address(listener_).port());
  description_ = fmt::format("{} (written in {})", list_of(addresses), rendezvous.file);
  return addresses;
}

std::vector<Address> Door::open_for_neighbour(const Rendezvous& rendezvous, const Address& by) {
  std::vector<Address> addresses;
  if (!rendezvous.interface.empty()) {
    addresses = {addresses_of_this_host(rendezvous.interface).front()};
    listener_ = listen_at(addresses.front());
  } else if (on_this_host_) {
    addresses = {by};
    listener_ = listen_at(by.with_port(0));
  } else {
    // The way to rank 0 is the best guess for the way to other ranks.
    addresses = addresses_of_this_host("");
    if (!by.is_loopback()) addresses.insert(addresses.begin(), by);
    listener_ = listen_everywhere(0);
  }
  return with_port(addresses, local_address(listener_).port());
}

std::vector<Address> Door::find_root(const Rendezvous& rendezvous, std::string& token,
                                     std::string& problem) {
  if (!rendezvous.host.empty()) {
    if (root_.empty()) root_ = resolve(rendezvous.host, rendezvous.port);
    on_this_host_ = is_written_as_loopback(rendezvous.host);
    return root_;
  }
  const auto invitation = read_invitation(rendezvous.file);
  if (!invitation) {
    problem = fmt::format("it has not written {}", rendezvous.file);
    return {};
  }
  token = invitation->token;
  on_this_host_ = are_loopback(invitation->addresses);
  return invitation->addresses;
}

std::list<Visitor>& Door::visitors() {
  visitors_.remove_if([](const Visitor& visitor) { return visitor.is_over(); });
  if (listener_.is_open())
    while (auto socket = accept_from(listener_))
      visitors_.emplace_back(std::move(*socket));
  return visitors_;
}

void Door::add_files(std::vector<pollfd>& files) const {
  if (listener_.is_open()) files.push_back({listener_.file(), POLLIN, 0});
  for (const Visitor& visitor : visitors_)
    if (!visitor.is_over()) files.push_back(visitor.file());
}

InvitationFile::InvitationFile(std::string file, const Invitation& invitation)
    : file_(std::move(file)), token_(invitation.token) {
  if (!file_.empty()) write_invitation(file_, invitation);
}

InvitationFile::~InvitationFile() {
  if (file_.empty()) return;
  // Another start by mistake with the same name may have replaced the file.
  const auto now = read_invitation(file_);
  if (now && now->token == token_) unlink(file_.c_str());
}

}  // namespace sculpt::sockets

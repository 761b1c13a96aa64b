#include "engine/dist/sockets/hello.h"

#include <algorithm>
#include <sstream>

#include "engine/core/error.h"

namespace sculpt::sockets {
namespace {

/// Reads the addresses that follow in a line.
std::vector<Address> read_addresses(std::istream& from) {
  std::vector<Address> addresses;
  for (std::string word; from >> word;)
    addresses.push_back(address_of(word, "an address of a rank"));
  return addresses;
}

std::string words_of(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses)
    text += " " + address.text();
  return text;
}

}  // namespace

std::string to_text(const Hello& hello) {
  std::string host = hello.place.host;
  std::ranges::replace(host, ' ', '_');
  return fmt::format("{} {} {} {} {} {}{}", hello.version, hello.token, hello.size, hello.rank,
                     hello.place.process, host, words_of(hello.addresses));
}

std::optional<Hello> hello_of(const std::string& text) {
  std::istringstream from(text);
  Hello hello;
  if (!(from >> hello.version >> hello.token >> hello.size >> hello.rank >> hello.place.process >>
        hello.place.host))
    return std::nullopt;
  if (hello.version == kProtocol) hello.addresses = read_addresses(from);
  return hello;
}

std::string to_text(const std::vector<std::vector<Address>>& of_ranks) {
  std::string text;
  for (const auto& addresses : of_ranks)
    text += words_of(addresses) + "\n";
  return text;
}

std::vector<std::vector<Address>> addresses_of(const std::string& text) {
  std::istringstream lines(text);
  std::vector<std::vector<Address>> of_ranks;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    of_ranks.push_back(read_addresses(words));
  }
  return of_ranks;
}

std::string list_of(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses)
    text += (text.empty() ? "" : ", ") + address.text();
  return text;
}

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace sculpt::sockets

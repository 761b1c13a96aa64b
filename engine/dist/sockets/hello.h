#pragma once
// A hello says who a rank is. A rank sends it when it has connected to another rank.

#include <optional>
#include <string>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/dist/sockets/address.h"
#include "engine/dist/sockets/message.h"

namespace sculpt::sockets {

/// The version of everything that travels. Programs with different versions do not meet.
constexpr int kProtocol = 1;

struct Hello {
  int version = kProtocol;
  std::string token;
  int size = 1, rank = 0;
  RankPlace place;
  std::vector<Address> addresses;  ///< where the rank listens; none if nobody connects to it
};

std::string to_text(const Hello& hello);
/// Returns nothing if the text is not a hello. The addresses of another version are left out.
std::optional<Hello> hello_of(const std::string& text);

/// Addresses of the ranks, one rank a line.
std::string to_text(const std::vector<std::vector<Address>>& of_ranks);
std::vector<std::vector<Address>> addresses_of(const std::string& text);

/// Returns "10.0.0.1:4711, [fd00::1]:4711".
std::string list_of(const std::vector<Address>& addresses);

std::string text_of(const Bytes& bytes);

}  // namespace sculpt::sockets

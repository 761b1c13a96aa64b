#pragma once
// A message is a header, and the bytes that the header announces. The fields have the byte order of
// the sender. A receiver with another byte order does not know the first field.

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "engine/dist/call.h"
#include "engine/dist/carrier.h"

namespace sculpt::sockets {

enum class MessageKind : uint32_t {
  hello,      ///< the first message of a rank that has connected; see hello.h
  refusal,    ///< the answer to a hello that is wrong: a text
  welcome,    ///< the answer to a hello
  addresses,  ///< of all ranks, from rank 0
  ready,      ///< a rank has connected to its neighbours
  go,         ///< all ranks are ready; from rank 0
  data,       ///< a piece of an operation
  heartbeat,
  farewell,  ///< the rank ends in order, and sends nothing more
  end,       ///< ends all ranks, with an exit code
};

/// Says to which operation a piece of data belongs. Ranks start operations of a channel in the same
/// order, and count them. The call itself keeps ranks whose calls differ from adding up different
/// things.
struct Identity {
  Channel channel = Channel::calls;
  int64_t number = 0;
  Call call;

  auto operator<=>(const Identity&) const = default;
};

struct Header {
  uint32_t magic = kMagic;
  MessageKind kind = MessageKind::data;
  uint64_t bytes = 0;  ///< that follow
  Identity identity;   ///< of a piece of data

  static constexpr uint32_t kMagic = 0x5c017e01;
};
static_assert(std::is_trivially_copyable_v<Header>, "headers travel as bytes");

using Bytes = std::vector<std::byte>;

struct Message {
  MessageKind kind = MessageKind::data;
  Bytes bytes;
};

/// Arrays travel in pieces of so many bytes, so that a heartbeat never waits for long.
constexpr size_t kPiece = size_t{1} << 16;
/// No message is longer.
constexpr size_t kMostBytes = size_t{1} << 24;

}  // namespace sculpt::sockets

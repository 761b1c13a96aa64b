#include "engine/formats/tensorboard_events.h"

#include <array>
#include <bit>

namespace sculpt::tensorboard {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reversed 0x1edc6f41
constexpr uint32_t kMask = 0xa282ead8;

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof value; ++i)
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

uint32_t masked(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + kMask;
}

// The wire format of protocol buffers: a field is a varint with its number and its type, and then
// its value.
enum class Wire : uint64_t { varint = 0, eight_bytes = 1, bytes = 2, four_bytes = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7)
    bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string key(uint64_t number, Wire wire) {
  return varint(number << 3 | static_cast<uint64_t>(wire));
}

std::string bytes_field(uint64_t number, std::string_view bytes) {
  return key(number, Wire::bytes) + varint(bytes.size()) + std::string(bytes);
}

std::string double_field(uint64_t number, double value) {
  return key(number, Wire::eight_bytes) + little_endian(std::bit_cast<uint64_t>(value));
}

std::string float_field(uint64_t number, float value) {
  return key(number, Wire::four_bytes) + little_endian(std::bit_cast<uint32_t>(value));
}

// Numbers of the fields in event.proto and summary.proto.
constexpr uint64_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;  // Event
constexpr uint64_t kValue = 1;                                                // Summary
constexpr uint64_t kTag = 1, kSimpleValue = 2;                                // Summary.Value

std::string event_of(const Scalar& scalar) {
  const std::string value =
      bytes_field(kTag, scalar.tag) + float_field(kSimpleValue, static_cast<float>(scalar.value));
  return double_field(kWallTime, scalar.wall_time) + key(kStep, Wire::varint) +
         varint(static_cast<uint64_t>(scalar.step)) +
         bytes_field(kSummary, bytes_field(kValue, value));
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

std::string record(std::string_view data) {
  const std::string length = little_endian(static_cast<uint64_t>(data.size()));
  return length + little_endian(masked(crc32c(length))) + std::string(data) +
         little_endian(masked(crc32c(data)));
}

std::string event_file(const std::vector<Scalar>& scalars, double start_time) {
  std::string file =
      record(double_field(kWallTime, start_time) + bytes_field(kFileVersion, "brain.Event:2"));
  for (const Scalar& scalar : scalars)
    file += record(event_of(scalar));
  return file;
}

}  // namespace sculpt::tensorboard

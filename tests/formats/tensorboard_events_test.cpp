// Event files of TensorBoard, against a checksum that is computed bit by bit and a plain reader.
#include "engine/formats/tensorboard_events.h"

#include <cstring>
#include <doctest/doctest.h>
#include <random>

using namespace sculpt;

namespace {

/// CRC-32C by its definition: polynomial division of the reflected bits.
uint32_t crc_by_bits(const std::string& bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes)
    for (int bit = 0; bit < 8; ++bit) {
      const uint32_t out = (crc ^ (static_cast<unsigned char>(byte) >> bit)) & 1u;
      crc = (crc >> 1) ^ (out != 0 ? 0x82f63b78u : 0u);
    }
  return crc ^ 0xffffffffu;
}

uint32_t masked_by_bits(const std::string& bytes) {
  const uint32_t crc = crc_by_bits(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <class T>
T take(const std::string& bytes, size_t& at) {
  T value;
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);  // tests run on little-endian machines
  at += sizeof value;
  return value;
}

uint64_t take_varint(const std::string& bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<uint8_t>(bytes, at);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
}

/// Splits a file into its records and checks every length and checksum.
std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  for (size_t at = 0; at < file.size();) {
    const std::string length_bytes = file.substr(at, 8);
    const auto length = take<uint64_t>(file, at);
    CHECK(take<uint32_t>(file, at) == masked_by_bits(length_bytes));
    records.push_back(file.substr(at, length));
    at += length;
    CHECK(take<uint32_t>(file, at) == masked_by_bits(records.back()));
  }
  return records;
}

}  // namespace

TEST_CASE("tensorboard: the checksum is that of known and of random bytes") {
  CHECK(tensorboard::crc32c("123456789") == 0xe3069283u);            // the check value of CRC-32C
  CHECK(tensorboard::crc32c(std::string(32, '\0')) == 0x8a9136aau);  // RFC 3720, B.4
  std::mt19937 random(12);
  for (int i = 0; i < 200; ++i) {
    std::string bytes(random() % 300, '\0');
    for (char& byte : bytes)
      byte = static_cast<char>(random());
    CHECK(tensorboard::crc32c(bytes) == crc_by_bits(bytes));
  }
}

TEST_CASE("tensorboard: a file has a version and then the scalars") {
  std::vector<tensorboard::Scalar> scalars;
  std::mt19937 random(13);
  for (int i = 0; i < 300; ++i)
    scalars.push_back({"accuracy/test", i * 1000, 1.5 * i, std::ldexp(random(), -32)});
  const std::string file = tensorboard::event_file(scalars, 17.0);
  const auto records = records_of(file);
  REQUIRE(records.size() == 301);
  CHECK(records[0].find("brain.Event:2") != std::string::npos);
  for (size_t i = 0; i < scalars.size(); ++i) {
    const std::string& event = records[i + 1];
    size_t at = 0;
    CHECK(take_varint(event, at) == (1u << 3 | 1));  // Event.wall_time
    CHECK(take<double>(event, at) == scalars[i].wall_time);
    CHECK(take_varint(event, at) == (2u << 3 | 0));  // Event.step
    CHECK(take_varint(event, at) == static_cast<uint64_t>(scalars[i].step));
    CHECK(take_varint(event, at) == (5u << 3 | 2));  // Event.summary
    const uint64_t summary_bytes = take_varint(event, at);
    CHECK(summary_bytes == event.size() - at);
    CHECK(take_varint(event, at) == (1u << 3 | 2));  // Summary.value
    const uint64_t value_bytes = take_varint(event, at);
    CHECK(value_bytes == event.size() - at);
    CHECK(take_varint(event, at) == (1u << 3 | 2));  // Summary.Value.tag
    const auto length = static_cast<size_t>(take_varint(event, at));
    CHECK(event.substr(at, length) == "accuracy/test");
    at += length;
    CHECK(take_varint(event, at) == (2u << 3 | 5));  // Summary.Value.simple_value
    CHECK(take<float>(event, at) == static_cast<float>(scalars[i].value));
    CHECK(at == event.size());
  }
}

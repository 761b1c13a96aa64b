#pragma once
// Event files of TensorBoard with scalars. A file is a sequence of TFRecords; a record is
//
//   8 bytes   length of the data, little-endian
//   4 bytes   masked CRC-32C of the length
//   n bytes   data: a protocol buffer of the type Event
//   4 bytes   masked CRC-32C of the data
//
// with the masking ((crc >> 15) | (crc << 17)) + 0xa282ead8. Source: record_writer.h, crc32c.h and
// event.proto of TensorFlow. The first event carries "brain.Event:2", the version of the format.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt::tensorboard {

struct Scalar {
  std::string tag;  ///< "accuracy/test": the part before "/" groups charts
  int64_t step = 0;
  double wall_time = 0;  ///< seconds since 1970
  double value = 0;      ///< written as a 32-bit float
};

/// Returns the CRC-32C (Castagnoli) of the bytes.
uint32_t crc32c(std::string_view bytes);

/// Returns the data as one TFRecord.
std::string record(std::string_view data);

/// Returns a whole event file with these scalars in this order. Equal arguments give equal bytes.
/// Event and Summary are serialized by hand: they have a handful of fields.
std::string event_file(const std::vector<Scalar>& scalars, double start_time);

}  // namespace sculpt::tensorboard

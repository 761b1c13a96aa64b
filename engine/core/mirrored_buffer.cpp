#include "engine/core/mirrored_buffer.h"

namespace sculpt {

MirroredBuffer::MirroredBuffer(size_t bytes, const char* what, const kernels::DeviceMemory* memory)
    : bytes_(bytes), memory_(memory), what_(what) {
  if (memory_)
    device_ = Buffer(bytes, what, memory);
  else
    host_ = Buffer(bytes, what);
  host_stale_ = memory_ != nullptr;
}

void MirroredBuffer::fetch() const {
  if (!host_stale_) return;
  if (host_.bytes() != bytes_) host_ = Buffer(bytes_, what_);
  if (bytes_ > 0) memory_->copy_out(host_.data(), device_.data(), bytes_);
  host_stale_ = false;
}

void MirroredBuffer::send() const {
  if (!device_stale_) return;
  if (bytes_ > 0) memory_->copy_in(device_.data(), host_.data(), bytes_);
  device_stale_ = false;
}

std::byte* MirroredBuffer::edit_host() {
  fetch();
  device_stale_ = memory_ != nullptr;
  return host_.data();
}

const std::byte* MirroredBuffer::host() const {
  fetch();
  return host_.data();
}

std::byte* MirroredBuffer::edit_device() {
  if (!memory_) return host_.data();
  send();
  host_stale_ = true;
  return device_.data();
}

const std::byte* MirroredBuffer::device() const {
  if (!memory_) return host_.data();
  send();
  return device_.data();
}

void MirroredBuffer::zero() {
  if (!memory_) return host_.zero();
  device_.zero();
  device_stale_ = false;
  host_stale_ = true;
}

}  // namespace sculpt

#include "engine/nn/batch_feed.h"

#include <algorithm>

#include "engine/core/error.h"

namespace sculpt {
namespace {

template <class T>
void copy_in(Buffer& buffer, const char* what, const T* values, int64_t count,
             const kernels::DeviceMemory& memory) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(T);
  if (buffer.bytes() != bytes) buffer = Buffer(bytes, what, &memory);
  memory.copy_in(buffer.data(), values, bytes);
}

}  // namespace

BatchFeed::BatchFeed(Network& network, BatchSource& source) : network_(network), source_(source) {
  if (network.graph().backend().input.load_resident == nullptr) return;
  if (const auto resident = source.resident()) upload(*resident);
}

void BatchFeed::upload(const ResidentImages& resident) {
  const kernels::DeviceMemory& memory = *network_.graph().backend().memory;
  const Normalization& normalization = source_.normalization();
  OnDevice& device = on_device_.emplace();
  copy_in(device.images, "the data set", resident.images,
          resident.count * source_.image_shape().count(), memory);
  copy_in(device.labels, "the data set", resident.labels, resident.count, memory);
  copy_in(device.fill, "the data set", resident.fill.data(), std::ssize(resident.fill), memory);
  copy_in(device.mean, "the data set", normalization.mean.data(), std::ssize(normalization.mean),
          memory);
  copy_in(device.std, "the data set", normalization.std.data(), std::ssize(normalization.std),
          memory);
  // The size is fixed, so the buffer keeps its address.
  device.order = Buffer(static_cast<size_t>(source_.size()) * sizeof(int32_t),
                        "the order of an epoch", &memory);
  device.batch = DeviceValue<kernels::ResidentBatch>("a batch's place", &memory);
  device.set = {device.images.as<uint8_t>(),
                device.labels.as<int32_t>(),
                device.order.as<int32_t>(),
                device.fill.as<uint8_t>(),
                device.mean.as<float>(),
                device.std.as<float>(),
                resident.augment};
}

void BatchFeed::upload_order(int64_t epoch) {
  const std::vector<int32_t> order = source_.epoch_images(epoch);
  SCULPT_CHECK(std::ssize(order) == source_.size(), "an order of {} images for {}", order.size(),
               source_.size());
  copy_in(on_device_->order, "the order of an epoch", order.data(), std::ssize(order),
          *network_.graph().backend().memory);
}

void BatchFeed::start_epoch(int64_t epoch, int64_t first_step) {
  epoch_ = epoch;
  position_ = first_step * source_.batch_size();
  if (on_device_)
    upload_order(epoch);
  else
    source_.start_epoch(epoch, first_step);
}

int64_t BatchFeed::advance() {
  const kernels::TraceRange phase(network_.graph().backend().trace, "load");
  if (on_device_) {
    count_ = std::clamp<int64_t>(source_.images_per_epoch() - position_, 0, source_.batch_size());
  } else {
    batch_ = source_.next();
    count_ = batch_.whole_count();
  }
  position_ += count_;
  return count_;
}

void BatchFeed::prepare(const StepPart& part) {
  const kernels::TraceRange phase(network_.graph().backend().trace, "load");
  part_ = part;
  if (!on_device_) return network_.load(batch_, source_.normalization(), part);
  const int64_t in_batch = network_.share_of_part(count_, part).first;
  on_device_->batch.set({static_cast<uint64_t>(epoch_), position_ - count_ + in_batch});
}

int64_t BatchFeed::next() {
  if (advance() > 0) prepare({});
  return count_;
}

void BatchFeed::load() {
  if (!on_device_) return;
  const kernels::TraceRange phase(network_.graph().backend().trace, "load");
  network_.load_resident(on_device_->set, on_device_->batch.data(), count_, part_);
}

}  // namespace sculpt

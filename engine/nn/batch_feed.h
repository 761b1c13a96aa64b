#pragma once
// The way of a source's batches into a network: made on the host and copied, or, where the backend
// can, made on the device from a data set that stays in its memory. Both give the same images.

#include <optional>

#include "engine/core/batch_source.h"
#include "engine/core/buffer.h"
#include "engine/core/device_value.h"
#include "engine/nn/network.h"

namespace sculpt {

class BatchFeed {
 public:
  /// Both outlive this object.
  BatchFeed(Network& network, BatchSource& source);

  /// Images of an epoch.
  int64_t size() const { return source_.size(); }
  /// As BatchSource::start_epoch.
  void start_epoch(int64_t epoch, int64_t first_step);
  /// Moves on to the next batch of the epoch; returns its images, 0 after the last one. Batches of
  /// the host are then in the network.
  int64_t next();
  /// Launches the making of the batch where a device makes it.
  void load();

 private:
  /// A data set in the device's memory.
  struct OnDevice {
    Buffer images, labels, fill, order, mean, std;
    DeviceValue<kernels::ResidentBatch> batch;
    kernels::ResidentSet set;
  };
  void upload(const ResidentImages& resident);
  void upload_order(int64_t epoch);

  Network& network_;
  BatchSource& source_;
  std::optional<OnDevice> on_device_;
  int64_t epoch_ = 0;
  int64_t position_ = 0;  // images of the epoch up to the end of the present batch
  int64_t count_ = 0;     // images of the present batch
};

}  // namespace sculpt

#pragma once
// The way of a source's batches into a network: made on the host and copied, or, where the backend
// can, made on the device from a data set that stays in its memory. Both give the same images.

#include <optional>

#include "engine/core/batch_source.h"
#include "engine/core/buffer.h"
#include "engine/nn/network.h"

namespace sculpt {

class BatchFeed {
 public:
  /// Both outlive this object.
  BatchFeed(Network& network, BatchSource& source);

  /// As BatchSource::start_epoch.
  void start_epoch(int64_t epoch, int64_t first_step);
  /// Loads the next batch of the epoch; returns its images, 0 after the last one.
  int64_t load_next();

 private:
  /// A data set in the device's memory.
  struct OnDevice {
    Buffer images, labels, fill, order;
    kernels::ResidentSet set;
  };
  void upload(const ResidentImages& resident);
  void upload_order(int64_t epoch);

  Network& network_;
  BatchSource& source_;
  std::optional<OnDevice> on_device_;
  int64_t epoch_ = 0;
  int64_t position_ = 0;  // images of the epoch that have been loaded
};

}  // namespace sculpt

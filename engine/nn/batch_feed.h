#pragma once
// Feeds the batches of a source to a network. The host prepares a batch and copies it to the
// network, or, where the backend supports it, the device prepares it from a data set that stays in
// its memory. Both ways give the same images.

#include <optional>

#include "engine/core/batch_source.h"
#include "engine/core/buffer.h"
#include "engine/core/device_value.h"
#include "engine/nn/network.h"

namespace sculpt {

class BatchFeed {
 public:
  /// The network and the source must outlive this object.
  BatchFeed(Network& network, BatchSource& source);

  /// Returns the number of images in the data set.
  int64_t size() const { return source_.size(); }
  /// Begins an epoch, as BatchSource::start_epoch() does.
  void start_epoch(int64_t epoch, int64_t first_step);
  /// Goes on to the next batch of the epoch and returns its number of images, 0 after the last
  /// batch.
  int64_t advance();
  /// Prepares a part of the batch. If the host prepares batches, the part is in the network when
  /// this function returns.
  void prepare(const StepPart& part);
  /// Launches the kernels that prepare the part, if a device prepares it. Does nothing otherwise.
  void load();
  /// Goes on to the next batch and prepares all of it.
  int64_t next();

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
  int64_t position_ = 0;  // images of the epoch up to the end of the current batch
  int64_t count_ = 0;     // images of the current batch
  Batch batch_;           // the current batch, if the host prepares it
  StepPart part_;
};

}  // namespace sculpt

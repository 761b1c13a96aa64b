#pragma once
// One collective operation on its way from the rank that calls it through the communication thread.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/dist/call.h"
#include "engine/dist/communicator.h"

namespace sculpt {

/// The arrays belong to the caller, who waits. The communication thread completes the operation.
class Operation : public PendingSum::Work {
 public:
  /// A sum in place, a broadcast from `root`, or (with neither data nor elements) a barrier.
  Operation(const Call& call, void* data, int root = 0) : call_(call), data_(data), root_(root) {}
  /// A collection of texts: this rank's text, and `sizes` of all of them. `all` gets them.
  Operation(const std::string& own, std::vector<int64_t> sizes, std::string& all);

  const Call& call() const { return call_; }
  void* data() const { return data_; }
  int root() const { return root_; }

  // The parts of a collection of texts.
  const std::string& own_text() const { return *own_; }
  std::string& all_texts() const { return *all_; }
  const std::vector<int64_t>& text_sizes() const { return sizes_; }

  /// Lets the waiting caller go on, with an error if `problem` is not empty.
  void complete(std::string problem);
  void wait() override;

 private:
  const Call call_;
  void* const data_ = nullptr;
  const int root_ = 0;
  const std::string* own_ = nullptr;
  std::string* all_ = nullptr;
  std::vector<int64_t> sizes_;
  std::string problem_;
  std::atomic<int> done_{0};
};

}  // namespace sculpt

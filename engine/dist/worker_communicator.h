#pragma once
// The communicator of a rank whose messages a communication thread exchanges.

#include <memory>
#include <string>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/dist/worker.h"

namespace sculpt {

class WorkerCommunicator : public Communicator {
 public:
  /// Connects the ranks. Throws Error if they cannot be connected. meet() comes next.
  WorkerCommunicator(std::unique_ptr<Carrier> carrier, const DistOptions& options)
      : worker_(std::move(carrier), options) {}

  /// Collects the places of all ranks. The ranks wait for each other here for the first time.
  void meet();

  int rank() const override { return worker_.carrier().rank(); }
  int size() const override { return worker_.carrier().size(); }
  const std::vector<RankPlace>& places() const override { return places_; }
  std::string library() const override { return worker_.carrier().library(); }
  std::string description() const override;

  void all_reduce_sum(std::span<float> values) override;
  void all_reduce_sum(std::span<double> values) override;
  void all_reduce_sum(std::span<int64_t> values) override;
  PendingSum start_sum(std::span<float> values) override;
  PendingSum start_sum(std::span<double> values) override;
  void broadcast(std::span<std::byte> bytes, int root) override;
  std::vector<std::string> all_gather(const std::string& text) override;
  void barrier() override;
  void pass_gpu_step() override;
  void finish() override { worker_.finish(); }

 private:
  class StartedSum;

  void end_all_ranks(int exit_code, const std::string& reason) override {
    worker_.abort(exit_code, reason);
  }
  PendingSum start(const Call& call, void* data);
  void do_and_wait(const Call& call, void* data, int root = 0);

  Worker worker_;
  std::vector<RankPlace> places_;
};

}  // namespace sculpt

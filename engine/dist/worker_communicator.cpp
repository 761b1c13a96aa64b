#include "engine/dist/worker_communicator.h"

#include "engine/core/error.h"
#include "engine/dist/place.h"

namespace sculpt {

class WorkerCommunicator::StartedSum : public PendingSum::Work {
 public:
  StartedSum(Worker& worker, const Call& call, void* data)
      : worker_(worker), operation_(std::make_shared<Operation>(call, data)) {
    worker_.post_pending(operation_);
  }
  void wait() override {
    worker_.post_end_of_sum(operation_->call().elements);
    operation_->wait();
  }

 private:
  Worker& worker_;
  const std::shared_ptr<Operation> operation_;
};

void WorkerCommunicator::meet() {
  places_ = places_of(all_gather(to_text(this_place())));
  worker_.set_places(places_);
}

std::string WorkerCommunicator::description() const {
  const int hosts = count_hosts(places_);
  return fmt::format("{}, {} ranks on {} host{}", worker_.carrier().description(), size(), hosts,
                     hosts == 1 ? "" : "s");
}

void WorkerCommunicator::all_reduce_sum(std::span<float> values) {
  do_and_wait({CallKind::sum_float, std::ssize(values)}, values.data());
}

void WorkerCommunicator::all_reduce_sum(std::span<double> values) {
  do_and_wait({CallKind::sum_double, std::ssize(values)}, values.data());
}

void WorkerCommunicator::all_reduce_sum(std::span<int64_t> values) {
  do_and_wait({CallKind::sum_int64, std::ssize(values)}, values.data());
}

PendingSum WorkerCommunicator::start_sum(std::span<float> values) {
  return start({CallKind::sum_float, std::ssize(values)}, values.data());
}

PendingSum WorkerCommunicator::start_sum(std::span<double> values) {
  return start({CallKind::sum_double, std::ssize(values)}, values.data());
}

void WorkerCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  SCULPT_CHECK(root >= 0 && root < size(), "a broadcast from rank {} of {}", root, size());
  do_and_wait({CallKind::broadcast, std::ssize(bytes)}, bytes.data(), root);
}

std::vector<std::string> WorkerCommunicator::all_gather(const std::string& text) {
  std::vector<int64_t> sizes(static_cast<size_t>(size()), 0);
  sizes[static_cast<size_t>(rank())] = std::ssize(text);
  all_reduce_sum(std::span(sizes));
  std::string all;
  const auto operation = std::make_shared<Operation>(text, sizes, all);
  worker_.post(operation);
  operation->wait();
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const int64_t length : sizes) {
    texts.push_back(all.substr(begin, static_cast<size_t>(length)));
    begin += static_cast<size_t>(length);
  }
  return texts;
}

void WorkerCommunicator::barrier() {
  do_and_wait({CallKind::barrier, 0}, nullptr);
}

void WorkerCommunicator::pass_gpu_step() {
  worker_.post(std::make_shared<Operation>(Call{CallKind::gpu_step, 0}, nullptr));
}

PendingSum WorkerCommunicator::start(const Call& call, void* data) {
  return PendingSum(std::make_shared<StartedSum>(worker_, call, data));
}

void WorkerCommunicator::do_and_wait(const Call& call, void* data, int root) {
  const auto operation = std::make_shared<Operation>(call, data, root);
  worker_.post(operation);
  operation->wait();
}

}  // namespace sculpt

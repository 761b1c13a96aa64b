#include "engine/dist/mpi/communicator.h"

#include <chrono>
#include <thread>
#include <utility>

#include "engine/core/error.h"
#include "engine/dist/library_name.h"
#include "engine/dist/mpi/worker.h"
#include "engine/dist/place.h"

namespace sculpt::mpi {
namespace {

class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(const DistOptions& options) : worker_(options) {}

  /// Collects the places of all ranks. The ranks wait for each other here for the first time.
  void meet() {
    places_ = places_of(all_gather(to_text(this_place())));
    worker_.set_places(places_);
  }

  int rank() const override { return worker_.rank(); }
  int size() const override { return worker_.size(); }
  const std::vector<RankPlace>& places() const override { return places_; }
  std::string library() const override { return short_library_name(worker_.library()); }

  std::string description() const override {
    const int hosts = count_hosts(places_);
    return fmt::format("{}, {} ranks on {} host{}", library(), size(), hosts,
                       hosts == 1 ? "" : "s");
  }

  void all_reduce_sum(std::span<float> values) override {
    do_and_wait({CallKind::sum_float, std::ssize(values)}, values.data());
  }
  void all_reduce_sum(std::span<double> values) override {
    do_and_wait({CallKind::sum_double, std::ssize(values)}, values.data());
  }
  void all_reduce_sum(std::span<int64_t> values) override {
    do_and_wait({CallKind::sum_int64, std::ssize(values)}, values.data());
  }

  PendingSum start_sum(std::span<float> values) override {
    return start({CallKind::sum_float, std::ssize(values)}, values.data());
  }
  PendingSum start_sum(std::span<double> values) override {
    return start({CallKind::sum_double, std::ssize(values)}, values.data());
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    SCULPT_CHECK(root >= 0 && root < size(), "a broadcast from rank {} of {}", root, size());
    do_and_wait({CallKind::broadcast, std::ssize(bytes)}, bytes.data(), root);
  }

  std::vector<std::string> all_gather(const std::string& text) override {
    std::vector<int64_t> sizes(static_cast<size_t>(size()), 0);
    sizes[static_cast<size_t>(rank())] = std::ssize(text);
    all_reduce_sum(std::span(sizes));
    std::string all;
    const auto operation =
        std::make_shared<Operation>(text, std::vector<int>(sizes.begin(), sizes.end()), all);
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

  void barrier() override { do_and_wait({CallKind::barrier, 0}, nullptr); }
  void finish() override { worker_.finish(); }

 private:
  void end_all_ranks(int exit_code, const std::string& reason) override {
    worker_.abort(exit_code, reason);
  }

  struct StartedSum : PendingSum::Work {
    StartedSum(Worker& of_rank, const Call& call, void* data)
        : worker(of_rank), operation(std::make_shared<Operation>(call, data)) {
      worker.post_pending(operation);
    }
    void wait() override {
      worker.post_end_of_sum(operation->call().elements);
      operation->wait();
    }

    Worker& worker;
    const std::shared_ptr<Operation> operation;
  };

  PendingSum start(const Call& call, void* data) {
    return PendingSum(std::make_shared<StartedSum>(worker_, call, data));
  }

  std::shared_ptr<Operation> post(const Call& call, void* data, int root = 0) {
    auto operation = std::make_shared<Operation>(call, data, root);
    worker_.post(operation);
    return operation;
  }

  void do_and_wait(const Call& call, void* data, int root = 0) { post(call, data, root)->wait(); }

  Worker worker_;
  std::vector<RankPlace> places_;
};

void require_agreement(const Launch& launch, const MpiCommunicator& communicator) {
  if (communicator.rank() == launch.rank && communicator.size() == launch.size) return;
  fail(
      "{} says that this is rank {} of {}, but {} says that it is rank {} of {}: the launcher "
      "belongs to another MPI than the one that this program was built with; start the program "
      "with the launcher of {}, or configure the build with the other MPI (-DMPI_C_COMPILER=...)",
      launch.launcher, launch.rank, launch.size, communicator.library(), communicator.rank(),
      communicator.size(), communicator.library());
}

}  // namespace

std::unique_ptr<Communicator> open(const Launch& launch, const DistOptions& options) {
  auto communicator = std::make_unique<MpiCommunicator>(options);
  try {
    require_agreement(launch, *communicator);
    communicator->meet();
    return communicator;
  } catch (const Error& error) {
    // Each rank takes itself for rank 0 here. The one that the launcher calls so speaks first, and
    // its end usually ends the others.
    if (launch.rank != 0 && communicator->rank() == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    // The caller has no communicator yet whose ranks it could end.
    communicator->abort(2, error.what());
  }
}

}  // namespace sculpt::mpi

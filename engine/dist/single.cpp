#include "engine/dist/single.h"

#include <cstdlib>

#include "engine/core/error.h"
#include "engine/dist/place.h"

namespace sculpt {
namespace {

class Single : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string description() const override { return "single"; }
  const std::vector<RankPlace>& places() const override { return places_; }

  void all_reduce_sum(std::span<float>) override {}
  void all_reduce_sum(std::span<double>) override {}
  void all_reduce_sum(std::span<int64_t>) override {}
  PendingSum start_sum(std::span<float>) override { return {}; }
  PendingSum start_sum(std::span<double>) override { return {}; }

  void broadcast(std::span<std::byte>, int root) override {
    SCULPT_CHECK(root == 0, "a broadcast from rank {} of 1", root);
  }
  std::vector<std::string> all_gather(const std::string& text) override { return {text}; }
  void barrier() override {}
  void finish() override {}

 private:
  void end_all_ranks(int exit_code, const std::string& reason) override {
    print_error(0, places_, reason);
    std::_Exit(exit_code);
  }

  const std::vector<RankPlace> places_{this_place()};
};

}  // namespace

Communicator& one_rank() {
  static Single single;
  return single;
}

std::unique_ptr<Communicator> single_communicator() {
  return std::make_unique<Single>();
}

}  // namespace sculpt

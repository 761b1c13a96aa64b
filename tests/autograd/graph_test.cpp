// The graph passes sums of channels from the node that computes a value to the nodes that use the
// sums.

#include "engine/autograd/graph.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <vector>

namespace sculpt {
namespace {

constexpr int64_t kChannels = 3, kChunks = 5;

/// Writes `fill` as the sums of its output if the graph requests these sums, and stores the sums of
/// its input in `seen`.
class SumsNode final : public Node {
 public:
  SumsNode(Value x, bool offers, bool takes, double fill)
      : Node({"node", "sums", -1, 0}, {x}), offers_(offers), takes_(takes), fill_(fill) {}

  void forward(const Replay& r) override {
    seen.clear();
    if (const auto* sums = r.sums(inputs[0]))
      seen.assign(sums->partials, sums->partials + 2 * kChannels * sums->chunks);
    auto* sums = r.sums(output);
    was_asked = sums != nullptr;
    if (!was_asked) return;
    sums->chunks = kChunks;
    std::fill_n(sums->partials, 2 * kChannels * kChunks, fill_);
  }
  void backward(const Replay&) override {}
  size_t output_sums_bytes() const override {
    return offers_ ? 2 * kChannels * kChunks * sizeof(double) : 0;
  }
  bool takes_sums(size_t) const override { return takes_; }

  std::vector<double> seen;
  bool was_asked = false;

 private:
  bool offers_, takes_;
  double fill_;
};

struct Recorder {
  ParameterArena arena;
  Graph graph{kernels::reference_backend(), arena, 1};

  SumsNode& add(Value x, bool offers, bool takes, double fill = 0) {
    auto node = std::make_unique<SumsNode>(x, offers, takes, fill);
    SumsNode& added = *node;
    graph.add(std::move(node), kChannels, 2, 2);
    return added;
  }
};

std::vector<double> filled(double value) {
  return std::vector<double>(2 * kChannels * kChunks, value);
}

TEST_CASE("graph: channel sums go from the producer of a value to those who take them") {
  Recorder r;
  const Value x = r.graph.input(kChannels, 2, 2);
  SumsNode& a = r.add(x, true, false, 1);
  SumsNode& b = r.add(a.output, true, false, 2);  // between a and the last node that takes a's sums
  SumsNode& c = r.add(b.output, true, true, 3);
  SumsNode& d = r.add(a.output, false, true);
  SumsNode& e = r.add(c.output, true, true, 5);
  SumsNode& f = r.add(e.output, false, false);
  r.graph.finish();
  for (int replay = 0; replay < 2; ++replay) {
    r.graph.forward(Mode::train, 1);
    CHECK(b.seen.empty() == false);  // any node may read sums that another node takes
    CHECK(c.seen == filled(2));
    CHECK(d.seen == filled(1));
    CHECK(e.seen == filled(3));
    CHECK_FALSE(e.was_asked);  // f does not take sums
    CHECK(f.seen.empty());
    CHECK_FALSE(d.was_asked);
  }
  for (const Mode mode : {Mode::eval, Mode::frozen}) {
    r.graph.forward(mode, 1);
    CHECK_FALSE(a.was_asked);
    CHECK(c.seen.empty());
  }
}

TEST_CASE("graph: channel sums that are not needed at the same time share memory") {
  auto sums_bytes = [](int length) {
    auto planned = [&](bool offers) {
      Recorder r;
      Value x = r.graph.input(kChannels, 2, 2);
      for (int i = 0; i < length; ++i)
        x = r.add(x, offers, true).output;
      r.graph.finish();
      return r.graph.planned_bytes();
    };
    return planned(true) - planned(false);
  };
  CHECK(sums_bytes(2) > 0);
  CHECK(sums_bytes(9) == sums_bytes(3));
}

}  // namespace
}  // namespace sculpt

// Digests of calls tell orders apart, and compare with what was remembered.

#include "engine/dist/call_order.h"

#include <doctest/doctest.h>
#include <random>
#include <set>

using namespace sculpt;

namespace {

Call random_call(std::mt19937& random) {
  return {static_cast<CallKind>(1 + random() % 6), static_cast<int64_t>(random() % 3)};
}

}  // namespace

TEST_CASE("call order: equal calls agree at every count, and different ones from the first on") {
  std::mt19937 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    const int length = 1 + static_cast<int>(random() % 30);
    const int differs_at = static_cast<int>(random() % static_cast<unsigned>(length));
    CallOrder one, same, other;
    std::vector<std::pair<CallOrder, CallOrder>>
        after;  // copies of `same` and `other` after each call
    for (int i = 0; i < length; ++i) {
      const Call call = random_call(random);
      Call changed = call;
      if (i == differs_at && trial % 2 == 0) changed.elements += 1;
      if (i == differs_at && trial % 2 == 1) changed.kind = CallKind::none;
      one.add(call);
      same.add(call);
      other.add(changed);
      after.emplace_back(same, other);
    }
    for (int i = 0; i < length; ++i) {
      const auto& [equal, different] = after[static_cast<size_t>(i)];
      CHECK(one.agrees(equal.count(), equal.digest()));
      CHECK(one.agrees(different.count(), different.digest()) == (i < differs_at));
    }
  }
}

TEST_CASE("call order: what is not known agrees") {
  CallOrder order;
  CHECK(order.agrees(0, 0));
  CHECK(order.agrees(5, 1));
  for (int i = 0; i < 100'000; ++i)
    order.add({CallKind::barrier, 0});
  CHECK(order.agrees(100'001, 1));
  CHECK(!order.agrees(100'000, 1));
  CHECK(!order.agrees(90'000, 1));
  CHECK(order.agrees(1000, 1));  // forgotten
  CHECK(order.last() == Call{CallKind::barrier, 0});
}

TEST_CASE("call order: every kind and size makes another digest") {
  std::set<uint64_t> digests;
  for (int kind = 0; kind < 8; ++kind)
    for (int64_t size = 0; size < 1000; ++size) {
      CallOrder order;
      order.add({static_cast<CallKind>(kind), size});
      digests.insert(order.digest());
    }
  CHECK(digests.size() == 8000);
}

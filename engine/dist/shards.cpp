#include "engine/dist/shards.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <thread>

#include "engine/core/error.h"
#include "kernels/common/parallel.h"

namespace sculpt {
namespace {

bool power_of_two(int64_t number) {
  return number > 0 && std::has_single_bit(static_cast<uint64_t>(number));
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts)
    all += fmt::format("{} {}", text.size(), text);
  return all;
}

void append_split(const std::string& all, std::vector<std::string>& texts) {
  for (size_t at = 0; at < all.size();) {
    const size_t space = all.find(' ', at);
    const size_t size = std::stoull(all.substr(at, space - at));
    texts.push_back(all.substr(space + 1, size));
    at = space + 1 + size;
  }
}

/// to[k] := the sum of array(i)[k] over i in [0, count), for k in [begin, end), in the fixed tree:
/// the sum of the first half plus the sum of the second half, each computed in the same way.
template <class T>
void tree_sum(T* to, int count, const std::function<const T*(int)>& array, size_t begin,
              size_t end) {
  if (count == 1) {
    std::copy(array(0) + begin, array(0) + end, to + begin);
    return;
  }
  constexpr size_t kBlock = 512;  // partial sums stay in cache
  T second[kBlock];
  const int half = count / 2;
  for (size_t first = begin; first < end; first += kBlock) {
    const size_t last = std::min(end, first + kBlock);
    tree_sum(to, half, array, first, last);
    const std::function<const T*(int)> rest = [&](int i) { return array(half + i) + first; };
    tree_sum(second, count - half, rest, 0, last - first);
    for (size_t k = first; k < last; ++k)
      to[k] += second[k - first];
  }
}

}  // namespace

/// The communicator of one logical rank.
class ShardGroup::Shard final : public Communicator {
 public:
  Shard(ShardGroup& group, int here) : group_(group), here_(here) {}

  int rank() const override { return group_.first_ + here_; }
  int size() const override { return group_.shards_; }
  std::string description() const override {
    return fmt::format("{} logical ranks on {}", group_.shards_, group_.processes_.description());
  }
  const std::vector<RankPlace>& places() const override { return group_.places_; }

  void all_reduce_sum(std::span<float> values) override { group_.add_up(here_, values); }
  void all_reduce_sum(std::span<double> values) override { group_.add_up(here_, values); }
  void all_reduce_sum(std::span<int64_t> values) override { group_.add_up(here_, values); }
  PendingSum start_sum(std::span<float> values) override { return start(values); }
  PendingSum start_sum(std::span<double> values) override { return start(values); }

  void broadcast(std::span<std::byte> bytes, int root) override {
    group_.arrays_[static_cast<size_t>(here_)] = bytes.data();
    group_.meet();
    // Rank 0 of the process exchanges the array of the root, or its own, with the other processes.
    const int process = root / group_.here_;
    const int owner = process == group_.processes_.rank() ? root - group_.first_ : 0;
    auto* const from = static_cast<std::byte*>(group_.arrays_[static_cast<size_t>(owner)]);
    if (here_ == 0) group_.processes_.broadcast({from, bytes.size()}, process);
    group_.meet();
    if (here_ != owner) std::memcpy(bytes.data(), from, bytes.size());
    group_.meet();
  }

  std::vector<std::string> all_gather(const std::string& text) override {
    group_.texts_[static_cast<size_t>(here_)] = text;
    group_.meet();
    if (here_ == 0) {
      group_.all_texts_.clear();
      for (const std::string& of_process : group_.processes_.all_gather(joined(group_.texts_)))
        append_split(of_process, group_.all_texts_);
    }
    group_.meet();
    std::vector<std::string> texts = group_.all_texts_;
    group_.meet();
    return texts;
  }

  void barrier() override {
    group_.meet();
    if (here_ == 0) group_.processes_.barrier();
    group_.meet();
  }
  void finish() override { barrier(); }  // the owner of the processes' communicator finishes that

 private:
  /// A sum that is computed when its rank waits for it. All logical ranks of a process take part in
  /// a sum, and they would wait for each other at its start.
  template <class T>
  struct AtTheWait : PendingSum::Work {
    AtTheWait(ShardGroup& all, int index, std::span<T> array)
        : group(all), here(index), values(array) {}
    void wait() override { group.add_up(here, values); }

    ShardGroup& group;
    const int here;
    const std::span<T> values;
  };

  template <class T>
  PendingSum start(std::span<T> values) {
    return PendingSum(std::make_shared<AtTheWait<T>>(group_, here_, values));
  }

  void end_all_ranks(int exit_code, const std::string& reason) override {
    group_.processes_.abort(exit_code, reason);
  }

  ShardGroup& group_;
  const int here_;
};

void require_logical_ranks(int64_t shards, int processes) {
  if (!power_of_two(shards))
    fail(
        "{} logical ranks cannot be spread over {} rank{}: the number of logical ranks must be a "
        "power of two; change dist.logical_ranks",
        shards, processes, processes == 1 ? "" : "s");
  if (!power_of_two(processes) || processes > shards)
    fail(
        "{} logical ranks cannot be spread over {} ranks: the number of ranks must be a power of "
        "two, at most {}",
        shards, processes, shards);
}

ShardGroup::ShardGroup(Communicator& processes, int shards)
    : processes_(processes),
      shards_(shards),
      here_(shards / std::max(1, processes.size())),
      first_(processes.rank() * here_) {
  if (shards < 1) fail("{} logical ranks: there must be at least one", shards);
  if (processes.size() > 1) require_logical_ranks(shards, processes.size());
  arrays_.resize(static_cast<size_t>(here_));
  texts_.resize(static_cast<size_t>(here_));
  for (const RankPlace& place : processes.places())
    places_.insert(places_.end(), static_cast<size_t>(here_), place);
}

ShardGroup::~ShardGroup() = default;

void ShardGroup::run(const std::function<void(Communicator&)>& body) {
  barrier_ = std::make_unique<std::barrier<>>(here_);
  error_ = nullptr;
  failed_ = false;
  const auto run_one = [&](int here) {
    const SingleThreaded scope;
    try {
      Shard shard(*this, here);
      body(shard);
    } catch (const Left&) {
      // The rank that failed has left its error.
    } catch (...) {
      fail_with(std::current_exception());
    }
    barrier_->arrive_and_drop();
  };
  {
    std::vector<std::jthread> threads;
    for (int here = 1; here < here_; ++here)
      threads.emplace_back(run_one, here);
    run_one(0);
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ShardGroup::fail_with(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  failed_ = true;
}

void ShardGroup::meet() {
  barrier_->arrive_and_wait();
  if (failed_) throw Left();
}

template <>
std::vector<float>& ShardGroup::total() {
  return floats_;
}
template <>
std::vector<double>& ShardGroup::total() {
  return doubles_;
}
template <>
std::vector<int64_t>& ShardGroup::total() {
  return counts_;
}

template <class T>
void ShardGroup::add_subtree(T* to, size_t begin, size_t end) const {
  const auto array = [&](int i) { return static_cast<const T*>(arrays_[static_cast<size_t>(i)]); };
  tree_sum<T>(to, here_, std::function<const T*(int)>(array), begin, end);
}

template <class T>
void ShardGroup::add_up(int here, std::span<T> values) {
  const int processes = processes_.size();
  const size_t size = values.size();
  arrays_[static_cast<size_t>(here)] = values.data();
  if (here == 0) total<T>().assign(size * static_cast<size_t>(processes), T{0});
  meet();
  // Each logical rank adds a part of the array. The sums of this process go to its own row.
  T* const rows = total<T>().data();
  T* const own = rows + size * static_cast<size_t>(processes_.rank());
  const auto part = [&](int i) {
    return size * static_cast<size_t>(i) / static_cast<size_t>(here_);
  };
  add_subtree(own, part(here), part(here + 1));
  meet();
  // The rows of the other processes are zero so far. Adding zeros changes no bit except the sign of
  // a zero, which is removed below.
  if (here == 0 && processes > 1) processes_.all_reduce_sum(std::span<T>(total<T>()));
  meet();
  const auto row = [&](int process) { return rows + size * static_cast<size_t>(process); };
  tree_sum<T>(values.data(), processes, std::function<const T*(int)>(row), 0, size);
  for (T& value : values)
    value += T{0};  // -0 becomes +0, as on several processes
  meet();
}

}  // namespace sculpt

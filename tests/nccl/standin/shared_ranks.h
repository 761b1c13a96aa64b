#pragma once
// The shared memory through which the stand-in's ranks exchange data. The ranks are processes of
// one machine.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace standin {

constexpr int kMaxRanks = 16;
constexpr size_t kSliceBytes = size_t{1} << 18;  // of one rank's window

/// Describes the collective that a rank is about to run. The ranks must agree.
struct Description {
  uint64_t count = 0;
  int32_t type = 0;
  bool operator==(const Description&) const = default;
};

/// All bytes are zero when the object is made.
struct Shared {
  std::atomic<uint32_t> joined;
  struct alignas(64) Turn {
    std::atomic<uint64_t> at;
  } turn[kMaxRanks];
  Description description[kMaxRanks];
  alignas(64) char window[kMaxRanks][kSliceBytes];
};

/// The mapping of a named object of shared memory.
class SharedRanks {
 public:
  /// Creates the object, or opens it if another rank has created it.
  explicit SharedRanks(const std::string& name);
  ~SharedRanks();
  SharedRanks(const SharedRanks&) = delete;
  SharedRanks& operator=(const SharedRanks&) = delete;

  Shared* operator->() const { return shared_; }
  bool is_open() const { return shared_ != nullptr; }
  const std::string& problem() const { return problem_; }
  /// Takes the name away. Ranks that have the object mapped keep it.
  void unlink() const;

 private:
  std::string name_, problem_;
  Shared* shared_ = nullptr;
};

/// Returns a name that no other group of ranks has.
std::string new_name();

}  // namespace standin

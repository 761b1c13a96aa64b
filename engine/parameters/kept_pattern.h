#pragma once
// A KeptPattern says which elements of all parameters are kept and which are masked. It is the only
// description of a mask: layers, arena, optimizer and copies of a network share one object, and
// everything that depends on a mask is derived from it.
//
// A pattern never changes. A change of masks makes another pattern (ParameterArena::set_pattern),
// so whoever holds something that was derived from a pattern compares pointers to find out that it
// is out of date. A pattern lies in the host's memory.

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sculpt {

/// The position of a parameter in the order of registration: 0, 1, ...
using ParameterId = int;

class KeptPattern {
 public:
  /// Makes a pattern that keeps everything. `counts` has the number of elements of each parameter,
  /// in the order of registration.
  explicit KeptPattern(std::vector<int64_t> counts);
  /// `bytes` has 1 for each kept and 0 for each masked element of all parameters, in global-index
  /// order. Throws Error if its size does not fit or if there is another value.
  KeptPattern(std::vector<int64_t> counts, std::vector<uint8_t> bytes);

  std::span<const int64_t> counts() const { return counts_; }
  /// Both functions return mask bytes: those of all parameters, and those of one parameter.
  std::span<const uint8_t> bytes() const { return bytes_; }
  std::span<const uint8_t> bytes(ParameterId id) const {
    return bytes().subspan(static_cast<size_t>(offsets_[at(id)]),
                           static_cast<size_t>(counts_[at(id)]));
  }
  /// Returns the number of kept elements of a parameter.
  int64_t kept(ParameterId id) const { return kept_[at(id)]; }
  bool all_kept(ParameterId id) const { return kept(id) == counts_[at(id)]; }
  double density(ParameterId id) const {
    return static_cast<double>(kept(id)) / static_cast<double>(counts_[at(id)]);
  }

  /// Returns true if both patterns keep the same elements, of all parameters or of one. The
  /// patterns must be patterns of the same parameters.
  bool operator==(const KeptPattern& other) const { return bytes_ == other.bytes_; }
  bool same(ParameterId id, const KeptPattern& other) const;
  /// Returns 16 hexadecimal digits that depend on all bytes. Different patterns almost surely
  /// differ in them, so that ranks can check that they have the same pattern. Takes one pass over
  /// the bytes.
  std::string hash() const;

  /// Returns the indices of the kept elements of a parameter, counted from its first element, in
  /// ascending order. This is the order in which packed arrays hold them.
  std::vector<int64_t> kept_indices(ParameterId id) const;
  /// kept[j] := all[i], where element i of the parameter is its j-th kept element.
  template <class T>
  void gather(ParameterId id, T* kept, const T* all) const;
  /// all[i] := kept[j], where element i is the j-th kept one, and all[i] := +0 where it is masked.
  template <class T>
  void scatter(ParameterId id, T* all, const T* kept) const;

 private:
  static size_t at(ParameterId id) { return static_cast<size_t>(id); }
  template <class Visit>
  void for_each_kept(ParameterId id, const Visit& visit) const;

  std::vector<int64_t> counts_, offsets_, kept_;  // per parameter
  std::vector<uint8_t> bytes_;
};

using SharedPattern = std::shared_ptr<const KeptPattern>;

/// Calls visit(i) for every kept element i of the parameter, in ascending order.
template <class Visit>
void KeptPattern::for_each_kept(ParameterId id, const Visit& visit) const {
  const std::span<const uint8_t> mask = bytes(id);
  size_t i = 0;
  for (uint64_t word = 0; i + sizeof word <= mask.size(); i += sizeof word) {
    std::memcpy(&word, mask.data() + i, sizeof word);
    if (word == 0) continue;  // most words of a sparse mask
    for (size_t j = i; j < i + sizeof word; ++j)
      if (mask[j] != 0) visit(j);
  }
  for (; i < mask.size(); ++i)
    if (mask[i] != 0) visit(i);
}

template <class T>
void KeptPattern::gather(ParameterId id, T* kept, const T* all) const {
  for_each_kept(id, [&](size_t i) { *kept++ = all[i]; });
}

template <class T>
void KeptPattern::scatter(ParameterId id, T* all, const T* kept) const {
  std::memset(all, 0, bytes(id).size() * sizeof(T));
  for_each_kept(id, [&](size_t i) { all[i] = *kept++; });
}

}  // namespace sculpt

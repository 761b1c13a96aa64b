#pragma once
// Sums over the ranks of a run in the memory of their GPUs, and the stream on which they are
// computed. Each process has one GPU. The tables below hold no type of CUDA or NCCL; on the CPU
// there are none.

#include <cstdint>
#include <string>

namespace sculpt::kernels {

/// A second stream of the backend's device. All collectives run on it, one after another, so they
/// run in the same order on every rank. Fork and join may be recorded (device/recording.h).
struct SideStream {
  /// Returns the stream, for functions that take one.
  void* (*stream)() = nullptr;
  /// Work on the side stream from now on waits for what the backend was given so far.
  void (*fork)() = nullptr;
  /// The backend's work from now on waits for the work of the side stream so far. A recording must
  /// not end between a fork and its join.
  void (*join)() = nullptr;
  /// Makes every wait of the host for the device call look() again and again with the seconds of
  /// the wait so far. look() may end the process. Null ends the calls.
  void (*watch_waits)(void (*look)(double seconds)) = nullptr;
  /// Returns for how many seconds the launch of a recording has lasted that is under way now; 0 if
  /// there is none. May be called from any thread.
  double (*seconds_launching)() = nullptr;
};

/// The collectives of a library. `stream` is that of SideStream. Except for problem() and abort(),
/// which may be called from any thread, the functions are called from one thread, whose current
/// device is the GPU of this rank. They throw Error with the library's own text.
struct Collectives {
  /// Returns "NCCL 2.28.9" and the settings that decide the order of additions.
  std::string (*description)() = nullptr;
  /// Returns the name of a new group of ranks, which connect() of every rank needs.
  std::string (*make_id)() = nullptr;
  /// Connects this rank with the others. Throws Error if that takes longer than `seconds`.
  void (*connect)(const std::string& id, int rank, int size, double seconds) = nullptr;
  /// These functions replace the values by their sums over the ranks, with the same bits on every
  /// rank. They do not wait for the device. They may be recorded after one of them has run.
  void (*sum_floats)(float* values, int64_t count, void* stream) = nullptr;
  void (*sum_doubles)(double* values, int64_t count, void* stream) = nullptr;
  /// Returns what has gone wrong on the device or on the way to other ranks; "" if nothing has.
  std::string (*problem)() = nullptr;
  /// Ends all collectives of this rank, finished or not. Returns false if that takes longer than
  /// `seconds`; the process must then end without waiting for the device.
  bool (*abort)(double seconds) = nullptr;
  /// Disconnects, when all ranks call it. All recordings with collectives must be gone. Throws
  /// Error if that takes longer than `seconds`.
  void (*close)(double seconds) = nullptr;
};

using CollectivesEntry = const Collectives* (*)();
/// The file of the module that links NCCL. It lies beside the programs and has one function.
inline constexpr const char* kCollectivesFile = "libsculpt_nccl.so";
inline constexpr const char* kCollectivesEntry = "sculpt_collectives";

}  // namespace sculpt::kernels

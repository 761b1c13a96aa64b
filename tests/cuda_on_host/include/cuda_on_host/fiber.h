#pragma once
// A fiber: a stack and the point on it where execution stopped. Switching costs some nanoseconds:
// it saves the registers that a function call must preserve. The sanitizers are told of each
// switch.

#include <cstddef>

namespace cuda_on_host {

class Fiber {
 public:
  using Entry = void (*)(Fiber&);

  /// The stack that the host itself runs on.
  Fiber() = default;
  /// A fiber with a stack of its own. Its first resumption calls entry, which must not return.
  /// Fibers differ in `index`, so that their frames do not fall into the same lines of the cache.
  Fiber(Entry entry, size_t index);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// Leaves this fiber, which is the running one, and continues `to` where it was left. Returns
  /// when something switches back.
  void switch_to(Fiber& to);

  /// Adopts the calling OS thread: to be called on the host's fiber before it is left.
  void adopt_host();

 private:
  [[noreturn]] static void start();
  void arrive();

  Entry entry_ = nullptr;
  void* context_ = nullptr;  // saved stack pointer, or ucontext_t
  void* mapping_ = nullptr;  // the stack with its guard page
  void* stack_bottom_ = nullptr;
  size_t stack_size_ = 0;
  // AddressSanitizer's fake stack, or ThreadSanitizer's fiber.
  void* sanitizer_state_ = nullptr;
  bool host_ = true;
};

}  // namespace cuda_on_host

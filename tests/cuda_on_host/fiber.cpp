#include "cuda_on_host/fiber.h"

#include <cstdint>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

#include "cuda_on_host/sanitizers.h"

// CUDA_ON_HOST_UCONTEXT may be defined to test what other processors use.
#if !defined(__x86_64__) && !defined(CUDA_ON_HOST_UCONTEXT)
#define CUDA_ON_HOST_UCONTEXT
#endif
#if defined(CUDA_ON_HOST_UCONTEXT)
#include <ucontext.h>
#endif
#if defined(CUDA_ON_HOST_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(CUDA_ON_HOST_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(CUDA_ON_HOST_UCONTEXT)
// void cuda_on_host_switch(void** save, void* load): pushes the registers that a call preserves,
// exchanges the stacks and pops them again. It leaves by a jump: a return would go where the
// processor did not predict it.
extern "C" void cuda_on_host_switch(void** save, void* load);
asm(R"(
  .text
  .p2align 4
  .globl cuda_on_host_switch
  .hidden cuda_on_host_switch
  .type cuda_on_host_switch, @function
cuda_on_host_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
  .size cuda_on_host_switch, . - cuda_on_host_switch
)");
#endif

namespace cuda_on_host {
namespace {

#if defined(CUDA_ON_HOST_ASAN) || defined(CUDA_ON_HOST_TSAN)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr size_t kGuardBytes = 4096;

// The fiber that left and the fiber that is being resumed. The resumed fiber reads both after the
// switch.
Fiber* leaving = nullptr;
Fiber* arriving = nullptr;

}  // namespace

Fiber::Fiber(Entry entry, size_t index) : entry_(entry), host_(false) {
  const size_t bytes = kStackBytes + kGuardBytes;
  mapping_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapping_, kGuardBytes, PROT_NONE);
  stack_bottom_ = static_cast<char*>(mapping_) + kGuardBytes;
  stack_size_ = kStackBytes - 192 * (index % 21);  // staggers the frames within 4 KiB
#if !defined(CUDA_ON_HOST_UCONTEXT)
  // cuda_on_host_switch pops six registers and the entry. A null return address lies above them.
  // The entry thus finds the stack as after a call: 8 bytes off a multiple of 16.
  auto** top = reinterpret_cast<void**>(static_cast<char*>(stack_bottom_) + stack_size_);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fiber::start);
  for (int i = 0; i < 6; ++i)
    *--top = nullptr;
  context_ = top;
#else
  auto* context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack_bottom_;
  context->uc_stack.ss_size = stack_size_;
  context->uc_link = nullptr;
  makecontext(context, reinterpret_cast<void (*)()>(&Fiber::start), 0);
  context_ = context;
#endif
#if defined(CUDA_ON_HOST_TSAN)
  sanitizer_state_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(CUDA_ON_HOST_UCONTEXT)
  delete static_cast<ucontext_t*>(context_);
#endif
  static_cast<void>(sanitizer_state_);  // not used without a sanitizer
  if (host_) return;
#if defined(CUDA_ON_HOST_TSAN)
  __tsan_destroy_fiber(sanitizer_state_);
#endif
  munmap(mapping_, kStackBytes + kGuardBytes);
}

void Fiber::adopt_host() {
#if defined(CUDA_ON_HOST_UCONTEXT)
  if (context_ == nullptr) context_ = new ucontext_t;
#endif
#if defined(CUDA_ON_HOST_TSAN)
  sanitizer_state_ = __tsan_get_current_fiber();
#endif
}

void Fiber::switch_to(Fiber& to) {
  leaving = this;
  arriving = &to;
#if defined(CUDA_ON_HOST_ASAN)
  __sanitizer_start_switch_fiber(&sanitizer_state_, to.stack_bottom_, to.stack_size_);
#endif
#if defined(CUDA_ON_HOST_TSAN)
  __tsan_switch_to_fiber(to.sanitizer_state_, __tsan_switch_to_fiber_no_sync);
#endif
#if !defined(CUDA_ON_HOST_UCONTEXT)
  cuda_on_host_switch(&context_, to.context_);
#else
  swapcontext(static_cast<ucontext_t*>(context_), static_cast<ucontext_t*>(to.context_));
#endif
  arrive();
}

void Fiber::arrive() {
#if defined(CUDA_ON_HOST_ASAN)
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(sanitizer_state_, &bottom, &size);
  if (leaving->host_) {  // learns the bounds of the host's stack
    leaving->stack_bottom_ = const_cast<void*>(bottom);
    leaving->stack_size_ = size;
  }
#endif
}

void Fiber::start() {
  Fiber* self = arriving;
  self->arrive();
  self->entry_(*self);
  abort();  // an entry does not return
}

}  // namespace cuda_on_host

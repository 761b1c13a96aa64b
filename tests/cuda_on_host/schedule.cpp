#include "machine.h"

namespace cuda_on_host {
namespace {

constexpr const char* kDeadlock = "deadlock: every thread waits for another";

Thread* pop_ready() {
  if (machine.ready_count == 0) return nullptr;
  Thread* thread = machine.ready[machine.ready_first];
  machine.ready_first = (machine.ready_first + 1) % kMaxThreads;
  --machine.ready_count;
  return thread;
}

void set_running(Thread* thread) {
  machine.running = thread;
  threadIdx = thread->index;
}

// Continues `next` on its fiber. A thread without a fiber gets one.
void resume(Fiber& from, Thread* next) {
  if (next->fiber == nullptr) next->fiber = machine.idle[--machine.num_idle];
  set_running(next);
  if (next->fiber != &from) from.switch_to(*next->fiber);
}

// The body of a fiber: it runs one thread after another until every thread has started.
void run_fiber(Fiber& self) {
  for (;;) {
    acquire(&machine.start_token);
    machine.body(machine.arguments);
    release(&machine.exit_token);

    Thread* exited = machine.running;
    exited->waits = Waits::kExited;
    ++machine.num_exited;
    release_those_who_waited_for(*exited);
    Thread* next = pop_ready();
    if (next == nullptr && machine.num_exited != machine.num_threads) fail_waiting(kDeadlock);
    if (kFiberRunsManyThreads) {
      if (next != nullptr && next->fiber == nullptr) {
        next->fiber = &self;
        set_running(next);
        continue;
      }
      machine.idle[machine.num_idle++] = &self;
    }
    if (next != nullptr)
      resume(self, next);
    else
      self.switch_to(machine.host);
  }
}

}  // namespace

void push_ready_back(Thread* thread) {
  machine.ready[(machine.ready_first + machine.ready_count++) % kMaxThreads] = thread;
}

void push_ready_front(Thread* thread) {
  machine.ready_first = (machine.ready_first + kMaxThreads - 1) % kMaxThreads;
  machine.ready[machine.ready_first] = thread;
  ++machine.ready_count;
}

void pause() {
  Fiber& self = *machine.running->fiber;
  Thread* next = pop_ready();
  if (next == nullptr) fail_waiting(kDeadlock);
  resume(self, next);
}

void run_threads() {
  while (machine.num_fibers < machine.num_threads)
    machine.idle[machine.num_idle++] = new Fiber(run_fiber, machine.num_fibers++);
  const uint32_t num_idle = machine.num_idle;
  release(&machine.start_token);
  resume(machine.host, pop_ready());
  acquire(&machine.exit_token);
  machine.num_idle = num_idle;  // all fibers are idle again
  machine.running = nullptr;
}

}  // namespace cuda_on_host

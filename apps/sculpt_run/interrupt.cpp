#include "apps/sculpt_run/interrupt.h"

#include <csignal>

namespace sculpt {
namespace {

volatile std::sig_atomic_t asked = 0;

extern "C" void on_interrupt(int signal) {
  if (asked) std::raise(signal);  // the other signal came before
  asked = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  // The kernel restores the default as it delivers the first signal, so the second one kills even
  // where a handler runs late (ThreadSanitizer holds it back until the next library call).
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() {
  return asked != 0;
}

}  // namespace sculpt

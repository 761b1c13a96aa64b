#include "engine/train/interrupt.h"

#include <csignal>

namespace sculpt {
namespace {

volatile std::sig_atomic_t asked = 0;

extern "C" void on_interrupt(int signal) {
  if (asked) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  asked = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() {
  return asked != 0;
}

}  // namespace sculpt

#include "engine/dist/mpi/last_resort.h"

#include <chrono>
#include <csignal>
#include <fstream>
#include <mpi.h>
#include <poll.h>
#include <string>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace sculpt::mpi {
namespace {

constexpr auto kPatience = std::chrono::seconds(3);
constexpr int kLauncherPatience = 8'000;  // milliseconds

bool is_mpirun(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/comm");
  std::string name;
  std::getline(file, name);
  return name == "mpirun" || name == "mpiexec" || name == "orterun" || name == "prterun";
}

/// mpirun waits for ever for hosts that it cannot reach any more, and then ignores SIGTERM, too.
/// The rank that mpirun itself has started therefore leaves a process behind that ends mpirun if
/// the end takes too long.
void end_launcher_later() {
  const pid_t launcher = getppid();
  if (!is_mpirun(launcher)) return;
  // The handle stays with this mpirun even if its number is used again.
  const auto handle = static_cast<int>(syscall(SYS_pidfd_open, launcher, 0));
  if (handle < 0) return;
  // Unlike fork(), the call of the system takes no locks, which other threads may hold.
  if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) {
    setsid();  // mpirun ends the groups of its ranks
    for (int file = 0; file < 1024; ++file)
      if (file != handle) close(file);
    pollfd ended{handle, POLLIN, 0};
    if (poll(&ended, 1, kLauncherPatience) == 0)
      syscall(SYS_pidfd_send_signal, handle, SIGKILL, nullptr, 0);
    _exit(0);
  }
  close(handle);
}

}  // namespace

void end_soon(int exit_code) {
  try {
    std::thread([exit_code] {
      std::this_thread::sleep_for(kPatience);
      _exit(exit_code);
    }).detach();
  } catch (const std::system_error&) {
    // MPI_Abort has to do without the thread, because there is nobody to tell.
  }
}

void end_all_ranks(int exit_code) {
  end_soon(exit_code);
  end_launcher_later();
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace sculpt::mpi

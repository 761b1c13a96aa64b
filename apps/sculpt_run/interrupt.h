#pragma once
// Handles signals that ask a run to end.

namespace sculpt {

/// Catches SIGINT, SIGTERM, SIGHUP and SIGUSR2, which launchers of several ranks pass on. The first
/// signal asks the run to save and end, and a line on standard error says so at once. Further
/// signals within two seconds are ignored, because people press Ctrl-C twice, and launchers forward
/// signals that the process group has received already. A later signal ends the process at once, in
/// the way of that signal. A SIGHUP that is ignored when the program starts (nohup) stays ignored.
///
/// From now on a closed pipe and a file-size limit cause errors of a write and not signals.
///
/// If `silent` is true, the line is not printed, because another rank prints it.
void catch_interrupts(bool silent = false);

/// Asks the run to save and end, as a signal does. The next signal counts as the first.
void request_stop();

/// Returns true if the process has been asked to end.
bool interrupted();

}  // namespace sculpt

#pragma once
// Signals that ask a run to end, and who hears them.

namespace sculpt {

/// Catches SIGINT, SIGTERM and SIGHUP. The first one asks the run to save and end, and says so in a
/// line on standard error at once. Further ones within two seconds are ignored: people press Ctrl-C
/// twice, and launchers forward what the process group received already. A later one ends the
/// process at once, in the signal's own way. A SIGHUP that is ignored when the program starts
/// (nohup) stays ignored.
///
/// From now on a closed pipe and a file-size limit are errors of a write and not signals.
void catch_interrupts();

/// Asks the run to save and end, as a signal does. The next signal counts as the first.
void request_stop();

/// Has the process been asked to end?
bool interrupted();

}  // namespace sculpt

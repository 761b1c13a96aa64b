#pragma once
// Ctrl-C and SIGTERM: the first asks the run to save and end, the second kills at once.

namespace sculpt {

/// Installs the handlers. Also ignores SIGXFSZ, so that a file-size limit is an error with a
/// message.
void catch_interrupts();

/// Has the process been asked to end?
bool interrupted();

}  // namespace sculpt

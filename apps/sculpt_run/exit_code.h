#pragma once
// The exit code of a program after it has printed everything.

namespace sculpt {

/// Returns `code`, or kExitFailed with a message if standard output could not be written and
/// printing is all that the program does. `kept` says what remains of the work of a program that
/// does more ("the run's records are in its folder"); such a program only warns. A reader that
/// closes the pipe stops it as a signal would, so it then says nothing. Null: the program only
/// prints.
int exit_code(int code, const char* kept);

}  // namespace sculpt

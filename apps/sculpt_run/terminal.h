#pragma once
// The program's two outputs as a person sees them: the width of a terminal, colours, one line that
// is redrawn, and writes that fail (a closed pipe, a full disk).

#include <cstddef>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>

namespace sculpt {

enum class Style { heading, good, warning, error };

class Terminal {
 public:
  explicit Terminal(int descriptor);

  /// Returns true on a terminal that can redraw a line (TERM is not "dumb"). Nothing is ever
  /// redrawn in a file or a pipe.
  bool redraws() const { return redraws_; }
  /// Returns the columns of the terminal, else the variable COLUMNS, else 80. Each call asks again,
  /// because windows change.
  size_t width() const;
  /// Returns `text` in the style's colour on a terminal with colours. Returns `text` unchanged
  /// elsewhere, or if the variable NO_COLOR is set (no-color.org).
  std::string paint(Style style, std::string_view text) const;

  /// Prints text that ends with a line break. Removes the status line first.
  void print(std::string_view text);
  /// Draws `text`, cut to the width, over the last line. Does nothing if redraws() is false.
  void status(std::string text);
  void clear_status();

  /// Drops everything from now on.
  void silence() { silent_ = true; }
  /// Treats the output as a file from now on: nothing is redrawn, and there are no colours.
  void treat_as_file() { redraws_ = colours_ = false; }

  /// Returns the errno of the first write that failed; 0 if none has. Everything printed after that
  /// write is dropped.
  int error() const { return error_; }

 private:
  void write(std::string_view bytes);
  void fail_with(int error);

  const int descriptor_;
  bool redraws_;
  bool colours_;
  bool silent_ = false;
  bool status_shown_ = false;
  int error_ = 0;
};

/// Returns standard output. If its reader closes the pipe, the run is asked to stop (interrupt.h).
Terminal& out();
/// Returns standard error.
Terminal& err();

/// Makes this process speak as one rank of several, whose outputs a launcher brings together. Rank
/// 0 speaks for all: other ranks print nothing but errors. Their errors begin with `name` ("rank 2
/// on node1 (process 4711)") and are some seconds late, because rank 0 usually finds the same
/// error, and the launcher then ends the other ranks.
void speak_as_rank(int rank, const std::string& name);

/// While this object lives, the calling thread prints nothing but errors.
class QuietThread {
 public:
  explicit QuietThread(bool quiet);
  ~QuietThread();
  QuietThread(const QuietThread&) = delete;
  QuietThread& operator=(const QuietThread&) = delete;

 private:
  bool before_;
};
/// Returns true if the calling thread prints nothing but errors.
bool thread_is_quiet();

/// Prints to standard output.
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  if (!thread_is_quiet()) out().print(fmt::format(format, std::forward<Args>(args)...));
}

/// Prints "note: " and the text to standard error.
void note(const std::string& text);
/// Prints "warning: " and the text to standard error.
void warn(const std::string& text);
/// Prints "error: " and the text to standard error.
void say_error(const std::string& text);

}  // namespace sculpt

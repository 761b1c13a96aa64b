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

  /// Returns the errno of the first write that failed; 0 if none has. Everything printed after that
  /// write is dropped.
  int error() const { return error_; }

 private:
  void write(std::string_view bytes);
  void fail_with(int error);

  const int descriptor_;
  const bool redraws_;
  const bool colours_;
  bool status_shown_ = false;
  int error_ = 0;
};

/// Returns standard output. If its reader closes the pipe, the run is asked to stop (interrupt.h).
Terminal& out();
/// Returns standard error.
Terminal& err();

/// Prints to standard output.
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  out().print(fmt::format(format, std::forward<Args>(args)...));
}

/// Prints "note: " and the text to standard error.
void note(const std::string& text);
/// Prints "warning: " and the text to standard error.
void warn(const std::string& text);
/// Prints "error: " and the text to standard error.
void say_error(const std::string& text);

}  // namespace sculpt

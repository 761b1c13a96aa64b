#pragma once
// The version that a file carries: a text like "sculpt-summary-1", which names the kind of file and
// the number of its format. docs/run-folder.md states the policy and lists the formats.

#include <string>
#include <string_view>

#include "engine/core/error.h"

namespace sculpt {

/// A kind of file, and the newest version of it that this program knows.
struct FileFormat {
  std::string_view kind;  ///< "sculpt-summary"
  int version = 1;

  /// Returns what a file of this version says: "sculpt-summary-1".
  std::string text() const;
};

/// The relation between the version that a file carries and the version that this program knows.
enum class FormatAge { known, newer, unknown };

/// Compares the text of a file with a format. An empty text counts as version 1: files had no
/// version at first. `unknown` means that the text does not name this kind of file.
FormatAge age_of(std::string_view text, const FileFormat& format);

/// Thrown for a file that a newer program wrote. The file is not damaged, so the fix is another
/// program and not another copy of the file.
class NewerFormat : public Error {
 public:
  using Error::Error;
};

/// Throws Error naming the place (a file, or a file and a line) and the fix if the text is neither
/// this version nor an older one. The error is a NewerFormat if the text is a newer version.
void require_known(std::string_view text, const FileFormat& format, const std::string& place);

}  // namespace sculpt

#pragma once
// Sets a report as one HTML page that needs nothing else: drawings are in the page, and there is no
// script. The page follows the reader's choice of light and dark, can be printed, and has one
// column on a phone.

#include <string>

#include "engine/report/report.h"

namespace sculpt {

struct PageOptions {
  /// Folder with the CSV files, relative to the page. The page links them. "": no links.
  std::string data_folder;
  /// The page asks the browser to read it again after this many seconds; 0: it does not.
  int reload_seconds = 0;
};

/// Returns the page. It stays under 2 MB: first the numbers in the page are left out where the CSV
/// files have them, then the rows of long tables. Names must be unique (make_names_unique).
std::string html_page(const Report& report, const PageOptions& options);

inline constexpr size_t kMostPageBytes = 2'000'000;

}  // namespace sculpt

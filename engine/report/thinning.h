#pragma once
// Lines in a drawing: fewer points where they cannot be told apart, and the path that joins them.

#include <cstddef>
#include <string>
#include <vector>

namespace sculpt {

struct Point {
  double x = 0, y = 0;
};

/// Keeps the first, lowest, highest and last point of each of `columns` equal parts of the width,
/// so that peaks stay. Returns lines of at most four points per column unchanged.
std::vector<Point> thinned(const std::vector<Point>& line, size_t columns);

/// Returns at most `most` points of the line, evenly chosen, among them the first and the last.
/// `most` is at least 2.
std::vector<Point> sampled(const std::vector<Point>& line, size_t most);

/// Returns an SVG path through the points, in tenths of units. In steps, the line keeps the value
/// of a point until the next one. A single point becomes a dot of a line with round ends.
std::string path_of(const std::vector<Point>& line, bool steps);

}  // namespace sculpt

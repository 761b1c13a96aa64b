#pragma once
// Chooses the styles that tell the series of a figure apart, and draws the legend that says so.
// Only the files of engine/report include this header.

#include <string>
#include <vector>

#include "engine/report/figure.h"
#include "engine/report/ink.h"

namespace sculpt {

inline constexpr double kMarker = 3.4;  ///< radius of a marker

/// A series with the number of its colour, dashes and marker.
struct Styled {
  const Series* series;
  size_t style;
};

/// Gives each series a style. Series of one group share the style of its first one.
std::vector<Styled> styled(const Figure& figure);

bool has_line(const Series& series);
/// Returns false for lines of many points, which markers would hide.
bool has_markers(const Series& series);
/// Returns the spread of a point; 0 if the series has none there.
double spread_at(const Series& series, size_t i);

/// Returns attributes, with a leading space, for the marker of a style.
std::string marker_ink(SvgTarget target, size_t style);

struct Legend {
  std::string svg;
  double height = 0;
};
/// Draws an entry for each series that has a name, in rows that begin at (`left`, `top`).
Legend legend_of(SvgTarget target, const std::vector<Styled>& series, double left, double top);

}  // namespace sculpt

#pragma once
// Draws figures and heat maps as SVG, ready for a page or for a paper.

#include <string>

#include "engine/report/figure.h"
#include "engine/report/ink.h"

namespace sculpt {

/// The width of every drawing, in its own units. At 84 mm, the width of a column of a paper, labels
/// are about 7 points high.
inline constexpr double kSvgWidth = 420;

/// Draws a figure: axes with ticks at round numbers, the series, and a legend below them. Series
/// differ in colour, and in dashes or markers as well. Lines of many points are thinned to what can
/// be seen; the tidy data (csv.h) has all points. A page shows the title itself, so the drawing has
/// none.
std::string figure_svg(const Figure& figure, SvgTarget target);

/// Draws a heat map in the colours of "viridis", which also rise in brightness, with a scale beside
/// it. Values that are not a number stay blank.
std::string heat_map_svg(const HeatMap& map, SvgTarget target);

}  // namespace sculpt

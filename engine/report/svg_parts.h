#pragma once
// Parts that drawings of figures and heat maps share. Only the files of engine/report include this
// header.

#include <string>
#include <string_view>
#include <vector>

#include "engine/report/ink.h"
#include "engine/report/scale.h"

namespace sculpt {

inline constexpr double kNumberSize = 12, kLabelSize = 13, kSmallSize = 10.5;

/// The rectangle in which data are drawn.
struct PlotArea {
  double left = 0, right = 0, top = 0, bottom = 0;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

struct TextPlace {
  double x = 0, y = 0;
  std::string_view anchor = "start";  ///< start, middle or end
  double size = kNumberSize;
  std::string_view more = {};  ///< further attributes, with a leading space
};
/// Returns a text element; escapes the text.
std::string svg_text(SvgTarget target, Part ink, const TextPlace& place, std::string_view text);

/// Returns the start of the drawing, up to and including a title for readers who cannot see it.
std::string svg_head(SvgTarget target, double height, const std::string& title);

/// Returns the grid, the axis lines, the ticks and the labels of both axes.
std::string svg_axes(SvgTarget target, const PlotArea& area, const Axis& x_axis,
                     const Scale& x_scale, const Axis& y_axis, const Scale& y_scale, bool grid);

/// Returns how much higher than numbers the labels of the x axis are, in a plot of this width.
/// Names of places that do not fit side by side are turned.
double extra_room_for_x_labels(const Axis& axis, double width);

/// Returns how high each row of a y axis of names must be. Long names take two lines.
double height_of_y_categories(const Axis& axis);

/// Returns how much room the labels of the y axis need at the left of the plot.
double room_for_y_labels(const Axis& axis, const Scale& scale);

}  // namespace sculpt

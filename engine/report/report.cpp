#include "engine/report/report.h"

#include <set>

#include "engine/report/markup.h"

namespace sculpt {

void make_names_unique(Report& report) {
  std::set<std::string> taken;
  const auto rename = [&](auto& shown) {
    const std::string wanted = file_name_of(shown.name.empty() ? shown.title : shown.name);
    std::string name = wanted;
    for (int i = 2; !taken.insert(name).second; ++i)
      name = wanted + "-" + std::to_string(i);
    shown.name = name;
  };
  for (Section& section : report.sections) {
    for (Figure& figure : section.figures)
      rename(figure);
    for (HeatMap& map : section.heat_maps)
      rename(map);
    for (Table& table : section.tables)
      rename(table);
  }
}

}  // namespace sculpt

#include "engine/report/report_files.h"

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/report/csv.h"
#include "engine/report/svg.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder) {
  std::error_code error;
  if (!folder.empty()) fs::create_directories(folder, error);
  if (error)
    fail("cannot make the folder {} ({}); choose another place with --out", folder.string(),
         error.message());
}

void write_all(const fs::path& folder, const std::vector<ReportFile>& files) {
  make_folder(folder);
  for (const ReportFile& file : files)
    write_file(folder / file.name, file.content);
}

}  // namespace

fs::path data_folder_of(const fs::path& page) {
  return page.parent_path() / (page.stem().string() + "-data");
}

void write_page(const fs::path& page, const Report& report) {
  const fs::path data = data_folder_of(page);
  make_folder(page.parent_path());
  write_all(data, csv_files(report));
  write_file(page, html_page(report, {data.filename().string(), 0}));
}

void write_page_alone(const fs::path& page, const Report& report, int reload_seconds) {
  make_folder(page.parent_path());
  write_file(page, html_page(report, {"", reload_seconds}));
}

size_t write_drawings(const fs::path& folder, const Report& report) {
  std::vector<ReportFile> files;
  for (const Section& section : report.sections) {
    for (const Figure& figure : section.figures)
      files.push_back({figure.name + ".svg", figure_svg(figure, SvgTarget::file)});
    for (const HeatMap& map : section.heat_maps)
      files.push_back({map.name + ".svg", heat_map_svg(map, SvgTarget::file)});
  }
  write_all(folder, files);
  return files.size();
}

size_t write_numbers(const fs::path& folder, const Report& report) {
  const std::vector<ReportFile> files = csv_files(report);
  write_all(folder, files);
  return files.size();
}

}  // namespace sculpt

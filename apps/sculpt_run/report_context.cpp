#include "apps/sculpt_run/report_context.h"

#include <fmt/format.h>

#include "apps/sculpt_run/run_options.h"
#include "build_info.h"
#include "engine/config/config.h"

namespace sculpt {

ReportContext report_context(const std::string& program) {
  ReportContext context;
  RunOptions defaults;
  context.defaults = flatten_config(write_config(defaults.sections()), "the defaults");
  // Records hold texts without quotes, and so do the defaults. No default has a quote inside.
  for (auto& [key, value] : context.defaults)
    if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
  context.without_effect = keys_without_effect();
  const std::string commit = SCULPT_COMMIT;
  context.written_by = fmt::format("Written by {} {}{}.", program, SCULPT_VERSION,
                                   commit.empty() ? "" : " (" + commit.substr(0, 12) + ")");
  return context;
}

}  // namespace sculpt

#include "apps/sculpt_analyze/command_options.h"

#include <cmath>
#include <fmt/format.h>

namespace sculpt::analyze {

std::shared_ptr<std::string> add_target(CLI::App& parser, const char* name, const char* help) {
  auto target = std::make_shared<std::string>();
  parser.add_option(name, *target, help)->required()->type_name(name);
  return target;
}

std::shared_ptr<std::vector<std::string>> add_targets(CLI::App& parser) {
  auto targets = std::make_shared<std::vector<std::string>>();
  parser.add_option("RUN|CKPT", *targets, "run folder (its final network) or checkpoints")
      ->required()
      ->type_name("RUN|CKPT...");
  return targets;
}

CLI::Option* add_count(CLI::App& parser, const char* name, int64_t& value, CountRange range,
                       const char* help) {
  return parser.add_option(name, value, help)
      ->check(CLI::Range(range.least, range.most))
      ->type_name("N")
      ->capture_default_str();
}

CLI::Validator in_range(double least, double most) {
  return {[=](std::string& text) {
            double value = NAN;
            if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most)
              return std::string();
            return fmt::format("Value {} not in range {:g} to {:g}", text, least, most);
          },
          fmt::format("FLOAT in [{:g} - {:g}]", least, most)};
}

}  // namespace sculpt::analyze

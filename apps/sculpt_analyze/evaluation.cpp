#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "engine/analyze/network_values.h"

namespace sculpt::analyze {
namespace {

constexpr int64_t kMostShown = 20;  // classes in a table of confusions

std::string class_name(const Session& session, int64_t label) {
  const std::string& name = session.class_names()[static_cast<size_t>(label)];
  return name.empty() ? fmt::format("{}", label) : name;
}

Table confusions(const Session& session, const ClassResults& results) {
  Table table{"confusion",
              "Confusion",
              "Rows are the classes of the images, columns the predictions.",
              {"class"},
              {}};
  for (int64_t predicted = 0; predicted < results.classes; ++predicted)
    table.columns.push_back(fmt::format("{}", predicted));
  for (int64_t label = 0; label < results.classes; ++label) {
    std::vector<std::string> row = {fmt::format("{} {}", label, class_name(session, label))};
    for (int64_t predicted = 0; predicted < results.classes; ++predicted)
      row.push_back(fmt::format("{}", results.count(label, predicted)));
    table.rows.push_back(row);
  }
  return table;
}

}  // namespace

Analysis evaluation(Session& session, const NamedNetwork& network) {
  set_values(session.network(), network.values);
  const ClassResults results = evaluate_classes(session.network(), session.test());
  Analysis analysis;
  analysis.name = "evaluation-" + network.key;
  analysis.title =
      fmt::format("{}: {} accuracy {} %, loss {:.6f}", network.name, session.measured_on(),
                  percent(results.all.accuracy), results.all.loss);
  analysis.values["accuracy"] = results.all.accuracy;
  analysis.values["loss"] = results.all.loss;
  Table table{"classes", "Classes", "", {}, {}};
  set_columns(table, {{"class"}, {"images"}, {"correct"}, {"accuracy (%)"}});
  for (int64_t label = 0; label < results.classes; ++label) {
    const int64_t images = results.images_of(label), correct = results.count(label, label);
    const double accuracy =
        images > 0 ? static_cast<double>(correct) / static_cast<double>(images) : NAN;
    add_row(table, {fmt::format("{} {}", label, class_name(session, label)), images, correct,
                    percent_cell(accuracy)});
    analysis.values[fmt::format("accuracy.{}", label)] = accuracy;
  }
  analysis.tables.push_back(table);
  if (results.classes <= kMostShown) analysis.tables.push_back(confusions(session, results));
  analysis.notes = {fmt::format("{} {} images, in evaluation mode.", session.test().size(),
                                session.measured_on())};
  return analysis;
}

}  // namespace sculpt::analyze

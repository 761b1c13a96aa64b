#include "engine/report/study_headline.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "engine/report/ticks.h"
#include "engine/study/statistics.h"

namespace sculpt {
namespace {

constexpr size_t kMostSentences = 3;

/// A series at one density.
struct Place {
  std::string series;
  Sample accuracy;  ///< in percent
};

/// The series of one density, the best one first.
struct Ranking {
  double density = NAN;
  std::vector<Place> places;

  /// Returns the number of series that are close to the best one; they follow it.
  size_t close() const {
    size_t count = 0;
    while (count + 1 < places.size() && is_close(places[0].accuracy, places[count + 1].accuracy))
      ++count;
    return count;
  }

  std::string sparsity() const { return number_text(100 * (1 - density), 4); }

 private:
  static bool is_close(const Sample& best, const Sample& other) {
    const double deviation = std::max(best.n > 1 ? best.deviation : 0,  //
                                      other.n > 1 ? other.deviation : 0);
    return deviation > 0 && best.mean - other.mean <= deviation;
  }
};

std::string text_of(const Sample& accuracy) {
  std::string text = fixed_text(accuracy.mean, 2);
  if (accuracy.n > 1) text += " \u00b1 " + fixed_text(accuracy.error_bar(), 2);
  return text + " %";
}

std::vector<Ranking> rankings_of(const std::vector<RunGroup>& groups) {
  std::map<std::string, Ranking> by_density;
  for (const RunGroup& group : groups) {
    std::vector<double> values;
    for (const ReportedRun* run : group.runs)
      values.push_back(100 * run->records.result("test_accuracy"));
    const Sample accuracy = describe(values);
    if (accuracy.n == 0) continue;
    Ranking& ranking = by_density[fmt::format("{:.4g}", group.density)];
    ranking.density = group.density;
    ranking.places.push_back({group.series, accuracy});
  }
  std::vector<Ranking> rankings;
  for (auto& [key, ranking] : by_density) {
    if (ranking.places.size() < 2) continue;
    std::ranges::stable_sort(ranking.places, [](const Place& a, const Place& b) {
      return a.accuracy.mean > b.accuracy.mean;
    });
    rankings.push_back(std::move(ranking));
  }
  std::ranges::sort(rankings,
                    [](const Ranking& a, const Ranking& b) { return a.density > b.density; });
  return rankings;
}

std::string sentence_of(const Ranking& ranking) {
  const Place &best = ranking.places[0], &next = ranking.places[1];
  std::string text = fmt::format("At {} % sparsity, the highest mean accuracy is that of {} ({})",
                                 ranking.sparsity(), best.series, text_of(best.accuracy));
  const size_t close = ranking.close();
  if (close == 0)
    return text + fmt::format("; {} follows with {}.", next.series, text_of(next.accuracy));
  text += fmt::format(", within one standard deviation of {} ({})", next.series,
                      text_of(next.accuracy));
  return text + (close > 1 ? fmt::format(" and {} more.", close - 1) : ".");
}

/// Returns "90, 95 and 98".
std::string list_of(const std::vector<std::string>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i)
    text += (i == 0 ? "" : i + 1 == numbers.size() ? " and " : ", ") + numbers[i];
  return text;
}

/// Returns one sentence for many densities.
std::string summary_of(const std::vector<Ranking>& rankings) {
  std::vector<std::string> order, close;
  std::map<std::string, std::vector<std::string>> best;
  for (const Ranking& ranking : rankings) {
    const std::string& series = ranking.places[0].series;
    if (!best.contains(series)) order.push_back(series);
    best[series].push_back(ranking.sparsity());
    if (ranking.close() > 0) close.push_back(ranking.sparsity());
  }
  std::string text = "The highest mean accuracy is that of ";
  for (const std::string& series : order)
    text += fmt::format("{}{} at {} %", series == order[0] ? "" : ", and of ", series,
                        list_of(best[series]));
  text += " sparsity";
  if (close.empty()) return text + ".";
  const std::string where =
      close.size() == rankings.size() ? "everywhere" : fmt::format("at {} %", list_of(close));
  return text + fmt::format("; {}, the next one is within one standard deviation.", where);
}

}  // namespace

std::string headline_of(const std::vector<RunGroup>& groups) {
  const std::vector<Ranking> rankings = rankings_of(groups);
  if (rankings.size() > kMostSentences) return summary_of(rankings);
  std::string text;
  for (const Ranking& ranking : rankings)
    text += (text.empty() ? "" : " ") + sentence_of(ranking);
  return text;
}

}  // namespace sculpt

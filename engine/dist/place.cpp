#include "engine/dist/place.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt {
namespace {

constexpr size_t kMostNames = 8;

}  // namespace

RankPlace this_place() {
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
    return {"an unnamed host", getpid(), 0};
  return {host, getpid(), 0};
}

std::string to_text(const RankPlace& place) {
  return fmt::format("{} {}", place.process, place.host);
}

std::vector<RankPlace> places_of(const std::vector<std::string>& texts) {
  std::vector<RankPlace> places;
  for (const std::string& text : texts) {
    RankPlace place;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, place.process);
    SCULPT_CHECK(error == std::errc() && rest != end && *rest == ' ', "'{}' is not a place", text);
    place.host.assign(rest + 1, end);
    for (const RankPlace& other : places)
      if (other.host == place.host) place.local_rank += 1;
    places.push_back(std::move(place));
  }
  return places;
}

int count_hosts(const std::vector<RankPlace>& places) {
  std::set<std::string> hosts;
  for (const RankPlace& place : places)
    hosts.insert(place.host);
  return static_cast<int>(hosts.size());
}

int ranks_on_host(const std::vector<RankPlace>& places, int rank) {
  const std::string& host = places[static_cast<size_t>(rank)].host;
  return static_cast<int>(
      std::ranges::count_if(places, [&](const RankPlace& place) { return place.host == host; }));
}

std::string name_of(int rank, const std::vector<RankPlace>& places) {
  const auto index = static_cast<size_t>(rank);
  if (index >= places.size()) return fmt::format("rank {}", rank);
  return name_of(rank, places[index]);
}

std::string name_of(int rank, const RankPlace& place) {
  return fmt::format("rank {} on {} (process {})", rank, place.host, place.process);
}

std::string names_of(std::span<const int> ranks, const std::vector<RankPlace>& places) {
  const size_t shown = std::min(ranks.size(), kMostNames);
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += name_of(ranks[i], places);
  }
  if (shown < ranks.size()) text += fmt::format(" and {} more ranks", ranks.size() - shown);
  return text;
}

void print_error(int rank, const std::vector<RankPlace>& places, const std::string& text) {
  const std::string name = name_of(rank, places);
  const bool named = rank == 0 || text.starts_with(name);
  const std::string line =
      named ? fmt::format("error: {}\n", text) : fmt::format("error: {}: {}\n", name, text);
  // A message that cannot be written cannot be reported either.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace sculpt

#include "engine/dist/sockets/meeting.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "engine/core/error.h"
#include "engine/dist/place.h"
#include "engine/dist/sockets/caller.h"
#include "engine/dist/sockets/door.h"
#include "engine/dist/sockets/hello.h"

namespace sculpt::sockets {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kExitMistake = 2;
// Rank 0 knows best which ranks are missing, and speaks first. Of the others, rank 1 does.
constexpr Seconds kRank1First(1);
constexpr int kTick = 50;  // milliseconds

class Meeting {
 public:
  Meeting(const Rendezvous& rendezvous, int rank, int size, Seconds limit)
      : rendezvous_(rendezvous),
        rank_(rank),
        size_(size),
        limit_(limit),
        hellos_(static_cast<size_t>(size)) {
    team_.rank = rank;
    team_.size = size;
    team_.links.resize(static_cast<size_t>(size));
    Hello& own = hello(rank);
    own.token = rendezvous.token;
    own.size = size;
    own.rank = rank;
    own.place = this_place();
  }

  Team run() {
    try {
      if (rank_ == 0)
        receive_all();
      else
        join();
      return std::move(team_);
    } catch (const RankMissing&) {
      tell_the_end(team_, kExitRankLost);
      throw;
    } catch (const Error&) {
      tell_the_end(team_, kExitMistake);
      throw;
    }
  }

 private:
  Hello& hello(int rank) { return hellos_[static_cast<size_t>(rank)]; }
  bool has_link(int rank) const { return team_.links[static_cast<size_t>(rank)] != nullptr; }

  // ---- rank 0

  void receive_all() {
    Hello& own = hello(0);
    if (!rendezvous_.file.empty()) own.token = random_token();
    own.addresses = door_.open_for_all(rendezvous_);
    const InvitationFile file(rendezvous_.file, {own.token, own.addresses});
    wait(
        Seconds(0), [this] { return absent().empty(); }, [this] { return who_is_absent(); });
    std::vector<std::vector<Address>> addresses;
    for (const Hello& one : hellos_)
      addresses.push_back(one.addresses);
    tell_all(MessageKind::addresses, to_text(addresses));
    wait(
        kRootFirst, [this] { return ready_ == size_ - 1; },
        [] { return "the ranks cannot connect to each other"; });
    tell_all(MessageKind::go, "");
  }

  std::vector<int> absent() const {
    std::vector<int> ranks;
    for (int r = 1; r < size_; ++r)
      if (!has_link(r)) ranks.push_back(r);
    return ranks;
  }

  std::string who_is_absent() const {
    const std::vector<int> ranks = absent();
    return fmt::format(
        "{} of {} {} not come to {} within {:g} s: not started, or this address cannot be reached "
        "from there{}",
        names_of(ranks, {}), size_, ranks.size() == 1 ? "has" : "have", door_.description(),
        limit_.count(), last_refusal_.empty() ? "" : "; one was refused: " + last_refusal_);
  }

  void tell_all(MessageKind kind, const std::string& text) {
    for (int r = 1; r < size_; ++r)
      team_.link(r).send(kind, text);
  }

  /// Returns why somebody is not a rank of this run; "" if the rank is welcome. Throws Error if it
  /// is a rank of this run that does not fit.
  std::string judge_at_root(const Hello& other) {
    const Hello& own = hello(0);
    if (other.token != own.token)
      return fmt::format(
          "{} is rank 0 of another run; the start of a run has one name on all of its ranks "
          "(SCULPT_JOB, or Slurm's job, step and restarts)",
          name_of(0, own.place));
    const std::string name = name_of(other.rank, other.place);
    if (other.version != own.version)
      fail(
          "{} speaks version {} of the protocol, and {} version {}; start the same program on all "
          "ranks",
          name, other.version, name_of(0, own.place), own.version);
    if (other.size != own.size || other.rank < 0 || other.rank >= size_)
      fail("{} is one of {} ranks, and {} one of {}; start all ranks with the same number of ranks",
           name, other.size, name_of(0, own.place), own.size);
    if (other.rank == 0 || has_link(other.rank))
      fail("rank {0} has come twice: as {1} and as {2}; start one process as rank {0}", other.rank,
           name_of(other.rank, hello(other.rank).place), name);
    return "";
  }

  // ---- the other ranks

  void join() {
    call(0, [this](std::string& problem) {
      return door_.find_root(rendezvous_, hello(rank_).token, problem);
    });
    wait(
        rank_ == 1 ? Seconds(0) : kRank1First, [this] { return has_link(0); },
        [this] {
          return fmt::format("rank 0 does not answer within {:g} s: {}", limit_.count(),
                             caller_->problem());
        });
    const Seconds later = kRootFirst + kRank1First;
    const auto root_is_silent = [this] {
      return fmt::format("rank 0 has not let the ranks begin within {:g} s", limit_.count());
    };
    wait(
        later, [this] { return !addresses_.empty(); }, root_is_silent);
    const int before = rank_ - 1, after = rank_ + 1;
    if (before > 0)
      call(before,
           [this, before](std::string&) { return addresses_.at(static_cast<size_t>(before)); });
    wait(
        Seconds(0), [&] { return has_link(before) && (after == size_ || has_link(after)); },
        [&] {
          return caller_ ? fmt::format("rank {} does not answer within {:g} s: {}", before,
                                       limit_.count(), caller_->problem())
                         : fmt::format("rank {} has not come to {} within {:g} s", after,
                                       list_of(hello(rank_).addresses), limit_.count());
        });
    team_.link(0).send(MessageKind::ready);
    wait(
        later, [this] { return go_; }, root_is_silent);
  }

  void call(int rank, Caller::Find find) {
    called_ = rank;
    caller_.emplace(std::move(find), [this](const Socket& connection) {
      Hello& own = hello(rank_);
      if (own.addresses.empty() && rank_ + 1 < size_)
        own.addresses = door_.open_for_neighbour(rendezvous_, local_address(connection));
      return to_text(own);
    });
  }

  /// Returns why somebody is not the next rank; "" if the rank is welcome.
  std::string judge_at_neighbour(const Hello& other) {
    const Hello& own = hello(rank_);
    const bool fits = other.token == own.token && other.version == own.version &&
                      other.rank == rank_ + 1 && other.rank < size_ && !has_link(other.rank);
    return fits ? "" : name_of(rank_, own.place) + " does not wait for this rank";
  }

  // ---- all ranks

  /// Goes on until `done`. Throws RankMissing with the text of `missing` if the meeting has taken
  /// longer than its limit and `more`.
  void wait(Seconds more, const std::function<bool()>& done,
            const std::function<std::string()>& missing) {
    while (!done()) {
      if (limit_.count() > 0 && Clock::now() - begin_ > limit_ + more) miss(missing());
      go_on();
      if (!done()) rest();
    }
  }

  /// Messages do not know the places of ranks yet.
  [[noreturn]] void miss(const std::string& text) {
    const std::string speaker = name_of(rank_, hello(rank_).place);
    throw RankMissing(rank_ == 0 ? text : fmt::format("{}: {}", speaker, text));
  }

  void go_on() {
    for (Visitor& visitor : door_.visitors())
      answer(visitor);
    if (caller_)
      if (auto link = caller_->step()) {
        team_.links[static_cast<size_t>(called_)] = std::move(link);
        caller_.reset();
      }
    // A refusal at a given address is final. A folder may still have the file of another start.
    if (caller_ && called_ == 0 && rendezvous_.file.empty() && !caller_->refusal().empty())
      fail("{}", caller_->refusal());
    exchange_messages(team_, std::chrono::milliseconds(0));
    for (int other = 0; other < size_; ++other)
      if (has_link(other)) take_messages(other);
  }

  void answer(Visitor& visitor) {
    const auto other = visitor.take_hello();
    if (!other) return;
    std::string refusal;
    try {
      refusal = rank_ == 0 ? judge_at_root(*other) : judge_at_neighbour(*other);
    } catch (const Error&) {
      visitor.end(kExitMistake);
      throw;
    }
    if (!refusal.empty()) {
      last_refusal_ = name_of(other->rank, other->place);
      visitor.refuse(refusal);
      return;
    }
    hello(other->rank) = *other;
    team_.links[static_cast<size_t>(other->rank)] = visitor.welcome();
  }

  /// Messages that come after the permission to go are left for the carrier.
  void take_messages(int from) {
    Link& link = team_.link(from);
    while (!go_) {
      const auto message = link.take();
      if (!message) break;
      if (message->kind == MessageKind::addresses)
        addresses_ = addresses_of(text_of(message->bytes));
      if (message->kind == MessageKind::ready) ++ready_;
      if (message->kind == MessageKind::go) go_ = true;
      if (message->kind == MessageKind::end) obey_the_end(team_, *message);
    }
    if (!go_ && link.is_closed())
      miss(fmt::format(
          "{} has gone while the ranks were connecting",
          rank_ == 0 ? name_of(from, hello(from).place) : name_of(from, std::vector<RankPlace>{})));
  }

  void rest() {
    std::vector<pollfd> files;
    add_files(team_, files);
    door_.add_files(files);
    if (caller_) files.push_back(caller_->file());
    poll(files.data(), files.size(), kTick);
  }

  const Rendezvous& rendezvous_;
  const int rank_, size_;
  const Seconds limit_;
  const Clock::time_point begin_ = Clock::now();
  Team team_;
  Door door_;
  std::vector<Hello> hellos_;  ///< by rank: of this rank, and of those that have come to it
  std::string last_refusal_;   ///< names the last that was refused
  int ready_ = 0;              ///< the ranks that are ready, at rank 0
  std::optional<Caller> caller_;
  int called_ = 0;                               ///< the rank that caller_ calls
  std::vector<std::vector<Address>> addresses_;  ///< by rank, from rank 0
  bool go_ = false;
};

}  // namespace

Team meet(const Rendezvous& rendezvous, int rank, int size, Seconds limit) {
  if (size == 1) return {};
  return Meeting(rendezvous, rank, size, limit).run();
}

}  // namespace sculpt::sockets

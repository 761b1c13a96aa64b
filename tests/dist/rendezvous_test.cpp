// Ranks without MPI find each other, and do not take others for ranks of their run.

#include "engine/dist/sockets/rendezvous.h"

#include <array>
#include <cstring>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <sys/socket.h>

#include "engine/core/error.h"
#include "engine/dist/place.h"
#include "engine/dist/sockets/caller.h"
#include "engine/dist/sockets/hello.h"
#include "tests/dist/socket_ranks.h"
#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;
using namespace std::chrono_literals;

namespace {

/// A folder that goes away with the object.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "sculpt-test-XXXXXX").string();
    SCULPT_CHECK(mkdtemp(name.data()) != nullptr, "no temporary folder");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

sockets::Rendezvous in_folder(const Folder& folder, const std::string& job = "job") {
  return *sockets::find_rendezvous(
      {{"SCULPT_RENDEZVOUS", "file:" + folder.path()}, {"SCULPT_JOB", job}});
}

void check_links(const std::vector<Met>& met) {
  const auto size = static_cast<int>(met.size());
  for (const Met& one : met) {
    CHECK(one.error == "");
    CHECK(one.ended_with == 0);
    if (!one.team) continue;
    const sockets::Team& team = *one.team;
    for (int other = 0; other < size; ++other) {
      const bool wanted = other != team.rank && (team.rank == 0 || other == 0 ||
                                                 other == team.next() || other == team.previous());
      CHECK((team.links.at(static_cast<size_t>(other)) != nullptr) == wanted);
    }
  }
}

sockets::Socket connect_to(const sockets::Rendezvous& to) {
  sockets::Socket socket = sockets::start_connecting(sockets::resolve(to.host, to.port).front());
  pollfd file{socket.file(), POLLOUT, 0};
  poll(&file, 1, 5000);
  return socket;
}

/// Connects to a rendezvous and says `text` as a hello. Returns the answer.
std::optional<sockets::Message> say(const sockets::Rendezvous& to, const std::string& text) {
  sockets::Link link(connect_to(to));
  link.send(sockets::MessageKind::hello, text);
  for (int i = 0; i < 100 && !link.is_closed(); ++i) {
    pollfd file = link.file();
    poll(&file, 1, 50);
    link.receive();
    if (auto answer = link.take()) return answer;
  }
  return std::nullopt;
}

/// Connects to a rendezvous and sends bytes. Returns true if the other end closes the connection.
bool is_closed_after(const sockets::Rendezvous& to, const std::string& bytes) {
  const sockets::Socket socket = connect_to(to);
  CHECK(send(socket.file(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == std::ssize(bytes));
  pollfd file{socket.file(), POLLIN, 0};
  char answer = 0;
  return poll(&file, 1, 5000) > 0 && recv(socket.file(), &answer, 1, 0) <= 0;
}

sockets::Hello hello_of_rank(const sockets::Rendezvous& rendezvous, int rank, int size) {
  return {sockets::kProtocol, rendezvous.token, size, rank, {"elsewhere", 4711, 0}, {}};
}

/// Lets rank 0 of `size` wait while `stranger` says something. Returns what becomes of rank 0.
Met meet_stranger(const LocalRendezvous& rendezvous, int size, const sockets::Hello& stranger,
                  std::optional<sockets::Message>& answer, double limit = 10) {
  Met root;
  run_together(2, [&](size_t i) {
    if (i == 0)
      root = meet({rendezvous.get(), 0, size, limit});
    else
      answer = say(rendezvous.get(), to_text(stranger));
  });
  return root;
}

bool is_end(const std::optional<sockets::Message>& answer, int exit_code) {
  int said = 0;
  if (!answer || answer->kind != sockets::MessageKind::end) return false;
  if (answer->bytes.size() != sizeof said) return false;
  std::memcpy(&said, answer->bytes.data(), sizeof said);
  return said == exit_code;
}

}  // namespace

TEST_CASE("rendezvous: variables") {
  const Folder folder;
  const std::string file = "file:" + folder.path();
  const auto found = [](const Environment& environment) {
    return sockets::find_rendezvous(environment).value();
  };
  CHECK(!sockets::find_rendezvous({{"SCULPT_JOB", "a"}}));
  const auto tcp = found({{"SCULPT_RENDEZVOUS", "tcp:node1:4711"}, {"SCULPT_INTERFACE", "ib0"}});
  CHECK(tcp.host == "node1");
  CHECK(tcp.port == 4711);
  CHECK(tcp.interface == "ib0");
  CHECK(tcp.file == "");
  CHECK(found({{"SCULPT_RENDEZVOUS", "tcp:[fd00::1]:80"}}).host == "fd00::1");
  CHECK(found({{"SCULPT_RENDEZVOUS", file}, {"SCULPT_JOB", "a.b-1"}}).file ==
        folder.path() + "/sculpt-a.b-1.rendezvous");
  // Each start of a job of Slurm has a name of its own.
  const Environment slurm = {
      {"SCULPT_RENDEZVOUS", file}, {"SLURM_JOB_ID", "17"}, {"SLURM_STEP_ID", "2"}};
  Environment restarted = slurm;
  restarted["SLURM_RESTART_COUNT"] = "3";
  CHECK(found(slurm).file == folder.path() + "/sculpt-slurm-17-2-0.rendezvous");
  CHECK(found(restarted).file == folder.path() + "/sculpt-slurm-17-2-3.rendezvous");
  restarted["SCULPT_RENDEZVOUS"] = "tcp:node1:4711";
  CHECK(found(restarted).token == "slurm-17-2-3");

  const std::pair<Environment, const char*> wrong[] = {
      {{{"SCULPT_RENDEZVOUS", "udp:1"}}, "is 'udp:1' and neither tcp:HOST:PORT nor file:FOLDER"},
      {{{"SCULPT_RENDEZVOUS", "file:"}}, "neither tcp:HOST:PORT nor file:FOLDER"},
      {{{"SCULPT_RENDEZVOUS", "tcp:node1"}}, "is 'node1' and not a host and a port"},
      {{{"SCULPT_RENDEZVOUS", "tcp:node1:70000"}}, "not a host and a port"},
      {{{"SCULPT_RENDEZVOUS", "tcp:node1:12x"}}, "not a host and a port"},
      {{{"SCULPT_RENDEZVOUS", file}}, "set the variable SCULPT_JOB"},
      {{{"SCULPT_RENDEZVOUS", file}, {"SCULPT_JOB", "a/b"}}, "SCULPT_JOB is 'a/b'"},
      {{{"SCULPT_RENDEZVOUS", "file:/no/folder"}, {"SCULPT_JOB", "a"}}, "/no/folder"},
      {{{"SCULPT_RENDEZVOUS", "tcp:a:1"}, {"SCULPT_LISTENER", "x"}}, "SCULPT_LISTENER is 'x'"},
  };
  for (const auto& [environment, part] : wrong) {
    const std::string message = error_of([&, e = environment] { sockets::find_rendezvous(e); });
    CHECK_MESSAGE(contains(message, part), message);
  }
}

TEST_CASE("rendezvous: addresses") {
  const std::pair<const char*, bool> good[] = {{"127.0.0.1:4711", true},
                                               {"127.0.1.1:1", true},
                                               {"10.0.0.1:65535", false},
                                               {"[::1]:80", true},
                                               {"[fd00::1]:4711", false}};
  for (const auto& [text, is_loopback] : good) {
    CAPTURE(text);
    const sockets::Address address = sockets::address_of(text, "the address");
    CHECK(address.text() == text);
    CHECK(address.is_loopback() == is_loopback);
    CHECK(sockets::address_of(address.with_port(5).text(), "").port() == 5);
  }
  // A socket of both protocols writes addresses of protocol 4 like this.
  CHECK(sockets::address_of("[::ffff:10.0.0.1]:80", "").text() == "10.0.0.1:80");
  for (const char* text :
       {"10.0.0.1", "10.0.0.1:", "10.0.0.1:0", ":80", "node1:80", "10.0.0.1:80x"})
    CHECK_THROWS_AS(sockets::address_of(text, "the address"), Error);
  for (const auto& address : sockets::addresses_of_this_host("lo"))
    CHECK(address.is_loopback());
}

TEST_CASE("rendezvous: 1 to 5 ranks meet at a port, and by a folder") {
  for (int size = 1; size <= 5; ++size) {
    CAPTURE(size);
    if (size > 1) check_links(meet(LocalRendezvous().ranks(size, size)));
    const Folder folder;
    std::vector<SocketRank> ranks;
    for (int rank = 0; rank < size; ++rank)
      ranks.push_back({in_folder(folder), rank, size});
    ranks.front().late = 100ms;
    if (size > 1) check_links(meet(ranks));
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE("rendezvous: an interface of this host") {
  const Folder folder;
  auto rendezvous = in_folder(folder);
  rendezvous.interface = "127.0.0.1";
  check_links(
      meet(std::vector<SocketRank>{{rendezvous, 0, 3}, {rendezvous, 1, 3}, {rendezvous, 2, 3}}));
  rendezvous.interface = "nosuch0";
  CHECK(contains(meet({rendezvous, 0, 3}).error, "SCULPT_INTERFACE is 'nosuch0'"));
}

TEST_CASE("rendezvous: a file of an earlier start") {
  // The file has the address of a rank 0 that waits for another run, and one that nobody listens
  // at.
  const LocalRendezvous other;
  const Folder folder;
  const auto rendezvous = in_folder(folder);
  const auto live = sockets::resolve("127.0.0.1", other.get().port).front();
  for (const auto& address : {live, live.with_port(1)}) {
    sockets::write_invitation(rendezvous.file, {"an-old-token", {address}});
    std::vector<SocketRank> ranks = {{rendezvous, 0, 2}, {rendezvous, 1, 2}};
    ranks.front().late = 300ms;
    ranks.push_back({other.get(), 0, 2, 1});
    ranks.back().rendezvous.listener = dup(other.get().listener);
    std::vector<Met> met = meet(ranks);
    CHECK(met.back().missing);
    met.pop_back();
    check_links(met);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE("rendezvous: a rank of another run is refused") {
  const LocalRendezvous rendezvous;
  std::vector<SocketRank> ranks = rendezvous.ranks(2, 2, 1);
  ranks[1].rendezvous.token = "another-run";
  const auto met = meet(ranks);
  CHECK(met[0].missing);
  CHECK_MESSAGE(contains(met[0].error, "rank 1 of 2 has not come to 127.0.0.1:"), met[0].error);
  CHECK(contains(met[0].error, "one was refused: rank 1 on "));
  CHECK(!met[1].missing);
  CHECK_MESSAGE(contains(met[1].error, "is rank 0 of another run"), met[1].error);
}

TEST_CASE("rendezvous: ranks that do not fit end all ranks, and rank 0 says why") {
  const LocalRendezvous rendezvous;
  struct Case {
    sockets::Hello stranger;
    const char* part;
  };
  std::array<Case, 4> cases = {{
      {hello_of_rank(rendezvous.get(), 1, 2),
       "rank 1 on elsewhere (process 4711) speaks version 2 of the protocol"},
      {hello_of_rank(rendezvous.get(), 1, 4),
       "rank 1 on elsewhere (process 4711) is one of 4 ranks"},
      {hello_of_rank(rendezvous.get(), 0, 2), "rank 0 has come twice"},
      {hello_of_rank(rendezvous.get(), 2, 2), "start all ranks with the same number of ranks"},
  }};
  cases[0].stranger.version = 2;
  for (const Case& c : cases) {
    const LocalRendezvous fresh;
    std::optional<sockets::Message> answer;
    const Met root = meet_stranger(fresh, 2, c.stranger, answer);
    CHECK_MESSAGE(contains(root.error, c.part), root.error);
    CHECK(!root.missing);
    CHECK(is_end(answer, 2));
  }
}

TEST_CASE("rendezvous: the same rank twice") {
  const LocalRendezvous rendezvous;
  std::vector<SocketRank> ranks = rendezvous.ranks(2, 3);
  ranks.push_back(ranks[1]);
  ranks.back().late = 200ms;
  const auto met = meet(ranks);
  CHECK_MESSAGE(contains(met[0].error, "rank 1 has come twice: as rank 1 on "), met[0].error);
  CHECK(met[1].ended_with == 2);
  CHECK(met[2].ended_with == 2);
}

TEST_CASE("rendezvous: ranks that do not come are named") {
  const LocalRendezvous rendezvous;
  const auto met = meet(rendezvous.ranks(2, 4, 0.5));
  CHECK(met[0].missing);
  CHECK_MESSAGE(contains(met[0].error, "rank 2 and rank 3 of 4 have not come to 127.0.0.1:"),
                met[0].error);
  CHECK(contains(met[0].error, "within 0.5 s"));
  CHECK(met[1].ended_with == kExitRankLost);

  const Folder folder;
  const Met alone = meet({in_folder(folder), 1, 2, 0.5});
  CHECK(alone.missing);
  CHECK(alone.error.starts_with("rank 1 on "));
  CHECK_MESSAGE(contains(alone.error, "rank 0 does not answer within 0.5 s: it has not written " +
                                          in_folder(folder).file),
                alone.error);
}

TEST_CASE("rendezvous: a rank that goes away while the ranks are connecting") {
  const LocalRendezvous rendezvous;
  std::optional<sockets::Message> answer;
  const Met root = meet_stranger(rendezvous, 3, hello_of_rank(rendezvous.get(), 1, 3), answer);
  CHECK(answer.value().kind == sockets::MessageKind::welcome);
  CHECK(root.missing);
  CHECK_MESSAGE(contains(root.error, "rank 1 on elsewhere (process 4711) has gone"), root.error);
}

TEST_CASE("rendezvous: strangers do not disturb") {
  const LocalRendezvous rendezvous;
  const sockets::Socket silent = connect_to(rendezvous.get());
  const std::vector<SocketRank> ranks = rendezvous.ranks(3, 3);
  std::vector<Met> met(3);
  bool dropped = false, dropped_zeros = false;
  run_together(2, [&](size_t i) {
    if (i == 0) {
      met[0] = meet(ranks[0]);
      return;
    }
    dropped = is_closed_after(rendezvous.get(),
                              "GET / HTTP/1.1\r\nHost: node1\r\nAccept: text/html\r\n\r\n");
    dropped_zeros = is_closed_after(rendezvous.get(), std::string(sizeof(sockets::Header), '\0'));
    run_together(3, [&](size_t rank) {
      if (rank > 0)
        met[rank] = meet(ranks[rank]);
      else
        say(rendezvous.get(), "no hello at all");
    });
  });
  CHECK(dropped);
  CHECK(dropped_zeros);
  check_links(met);
}

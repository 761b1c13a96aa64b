// A run with one rank communicates with nobody, and its arrays stay as they are.

#include "engine/dist/single.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/core/error.h"

using namespace sculpt;

TEST_CASE("single: one rank, which is the root") {
  const auto single = single_communicator();
  CHECK(single->rank() == 0);
  CHECK(single->size() == 1);
  CHECK(single->is_root());
  CHECK(single->description() == "single");
  REQUIRE(single->places().size() == 1);
  CHECK(single->places()[0].process == getpid());
  CHECK(!single->places()[0].host.empty());
}

TEST_CASE("single: every function leaves the values as they are") {
  const auto single = single_communicator();
  std::vector<float> floats = {1.5f, -0.0f, 3e38f};
  std::vector<double> doubles = {0.1, 1e300};
  std::vector<int64_t> integers = {-1, int64_t{1} << 62};
  const auto before = std::tuple(floats, doubles, integers);
  single->all_reduce_sum(std::span(floats));
  single->all_reduce_sum(std::span(doubles));
  single->all_reduce_sum(std::span(integers));
  PendingSum sum = single->start_sum(floats);
  sum.wait();
  sum.wait();
  single->broadcast(std::as_writable_bytes(std::span(doubles)));
  single->barrier();
  CHECK(std::tuple(floats, doubles, integers) == before);
  CHECK(single->all_gather("") == std::vector<std::string>{""});
  CHECK(single->all_gather("a text") == std::vector<std::string>{"a text"});
  CHECK_THROWS_AS(single->broadcast({}, 1), Error);
  single->finish();
}

TEST_CASE("single: abort ends the process with the code, and prints the reason") {
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], STDERR_FILENO);
    single_communicator()->abort(42, "the reason");
  }
  close(pipe_ends[1]);
  char text[100] = {};
  const ssize_t length = read(pipe_ends[0], text, sizeof text - 1);
  close(pipe_ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  CHECK(length > 0);
  CHECK(std::string(text) == "error: the reason\n");
}

TEST_CASE("pending sum: the destructor and an assignment wait, and errors come from wait()") {
  struct Counted : PendingSum::Work {
    Counted(int& count, bool fails) : waits(count), throws(fails) {}
    void wait() override {
      ++waits;
      if (throws) fail("lost");
    }
    int& waits;
    bool throws;
  };
  int first = 0, second = 0;
  {
    PendingSum sum(std::make_shared<Counted>(first, false));
    sum = PendingSum(std::make_shared<Counted>(second, true));
    CHECK(first == 1);
    CHECK(second == 0);
  }
  CHECK(second == 1);
  int third = 0;
  PendingSum sum(std::make_shared<Counted>(third, true));
  PendingSum moved = std::move(sum);
  CHECK_THROWS_AS(moved.wait(), Error);
  CHECK_NOTHROW(moved.wait());
  CHECK(third == 1);
}

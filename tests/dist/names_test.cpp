// Words for calls and libraries.

#include <doctest/doctest.h>

#include "engine/dist/call.h"
#include "engine/dist/library_name.h"

using namespace sculpt;

TEST_CASE("calls: words for messages") {
  CHECK(describe({CallKind::sum_float, 270'000}) == "a sum of 270,000 floats");
  CHECK(describe({CallKind::sum_double, 1}) == "a sum of 1 double");
  CHECK(describe({CallKind::sum_int64, 1'234'567}) == "a sum of 1,234,567 integers");
  CHECK(describe({CallKind::broadcast, 0}) == "a broadcast of 0 bytes");
  CHECK(describe({CallKind::broadcast, 999}) == "a broadcast of 999 bytes");
  CHECK(describe({CallKind::gather, 0}) == "a collection of texts");
  CHECK(describe({CallKind::barrier, 0}) == "a barrier");
  CHECK(describe({}) == "nothing");
}

TEST_CASE("library names: what two libraries say of themselves") {
  CHECK(short_library_name("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: "
                           "v4.1.4, May 26, 2022") == "Open MPI 4.1.4");
  CHECK(short_library_name("MPICH Version:      4.0.2\nMPICH Release date: Thu Apr  7\n") ==
        "MPICH 4.0.2");
  CHECK(short_library_name("Some MPI 1.0 (a build)\nmore") == "Some MPI 1.0 (a build)");
  CHECK(short_library_name("") == "");
}

#include "engine/dist/mpi/heartbeats.h"

#include <type_traits>

#include "engine/dist/mpi/status.h"

namespace sculpt::mpi {
namespace {

constexpr int kTag = 1;
static_assert(std::is_trivially_copyable_v<Heartbeat>, "heartbeats travel as bytes");

}  // namespace

Heartbeats::Heartbeats(int rank, int size) : rank_(rank) {
  const int last = rank == 0 ? size - 1 : 0;
  for (int to = rank == 0 ? 1 : 0; to <= last; ++to)
    outgoing_.push_back({to, {}, MPI_REQUEST_NULL});
  start_receive();
}

void Heartbeats::start_receive() {
  check(MPI_Irecv(&incoming_, sizeof incoming_, MPI_BYTE, rank_ == 0 ? MPI_ANY_SOURCE : 0, kTag,
                  MPI_COMM_WORLD, &request_),
        "MPI_Irecv");
}

void Heartbeats::receive(const Carrier::Hear& hear) {
  for (;;) {
    int arrived = 0;
    MPI_Status status{};
    check(MPI_Test(&request_, &arrived, &status), "MPI_Test");
    if (arrived == 0) return;
    hear(status.MPI_SOURCE, incoming_);
    start_receive();
  }
}

void Heartbeats::send(const Heartbeat& beat) {
  for (Outgoing& out : outgoing_) {
    int sent = 1;
    check(MPI_Test(&out.request, &sent, MPI_STATUS_IGNORE), "MPI_Test");
    if (sent == 0) continue;
    out.beat = beat;
    check(
        MPI_Isend(&out.beat, sizeof out.beat, MPI_BYTE, out.to, kTag, MPI_COMM_WORLD, &out.request),
        "MPI_Isend");
  }
}

void Heartbeats::close() {
  check(MPI_Cancel(&request_), "MPI_Cancel");
  check(MPI_Wait(&request_, MPI_STATUS_IGNORE), "MPI_Wait");
  // Every rank is alive and closes, too, so a heartbeat that is still on its way may be forgotten.
  for (Outgoing& out : outgoing_)
    if (out.request != MPI_REQUEST_NULL) check(MPI_Request_free(&out.request), "MPI_Request_free");
}

}  // namespace sculpt::mpi

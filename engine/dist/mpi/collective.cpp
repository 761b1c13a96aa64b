#include "engine/dist/mpi/collective.h"

#include <algorithm>
#include <limits>

#include "engine/core/error.h"
#include "engine/dist/mpi/status.h"

namespace sculpt::mpi {
namespace {

// MPI counts elements in an int. Longer arrays travel in pieces.
constexpr int64_t kPiece = int64_t{1} << 28;

}  // namespace

Collective::Collective(const Operation& operation, MPI_Comm communicator) : operation_(operation) {
  start(communicator);
}

void Collective::start(MPI_Comm communicator) {
  const auto sum = [&](MPI_Datatype type, int64_t bytes) {
    start_pieces(bytes, [&](void* data, int count, MPI_Request* request) {
      check(MPI_Iallreduce(MPI_IN_PLACE, data, count, type, MPI_SUM, communicator, request),
            "MPI_Iallreduce");
    });
  };
  switch (operation_.call().kind) {
    case CallKind::none:
    case CallKind::end_of_sum:
    case CallKind::gpu_step:
      break;
    case CallKind::sum_float:
      return sum(MPI_FLOAT, sizeof(float));
    case CallKind::sum_double:
      return sum(MPI_DOUBLE, sizeof(double));
    case CallKind::sum_int64:
      return sum(MPI_INT64_T, sizeof(int64_t));
    case CallKind::broadcast:
      return start_pieces(1, [&](void* data, int count, MPI_Request* request) {
        check(MPI_Ibcast(data, count, MPI_BYTE, operation_.root(), communicator, request),
              "MPI_Ibcast");
      });
    case CallKind::gather:
      return start_gather(communicator);
    case CallKind::barrier:
    case CallKind::finish:
      requests_.push_back(MPI_REQUEST_NULL);
      check(MPI_Ibarrier(communicator, &requests_.back()), "MPI_Ibarrier");
      return;
  }
}

template <class Start>
void Collective::start_pieces(int64_t element_bytes, const Start& start) {
  const int64_t elements = operation_.call().elements;
  for (int64_t begin = 0; begin < elements; begin += kPiece) {
    const auto count = static_cast<int>(std::min(kPiece, elements - begin));
    requests_.push_back(MPI_REQUEST_NULL);
    start(static_cast<char*>(operation_.data()) + begin * element_bytes, count, &requests_.back());
  }
}

void Collective::start_gather(MPI_Comm communicator) {
  int64_t total = 0;
  for (const int64_t size : operation_.text_sizes()) {
    sizes_.push_back(static_cast<int>(size));
    offsets_.push_back(static_cast<int>(total));
    total += size;
    if (total > std::numeric_limits<int>::max())
      fail("the texts of all ranks have more than 2 GiB together, which MPI cannot collect");
  }
  const std::string& own = operation_.own_text();
  requests_.push_back(MPI_REQUEST_NULL);
  check(MPI_Iallgatherv(own.data(), static_cast<int>(own.size()), MPI_CHAR,
                        operation_.all_texts().data(), sizes_.data(), offsets_.data(), MPI_CHAR,
                        communicator, &requests_.back()),
        "MPI_Iallgatherv");
}

bool Collective::test() {
  if (requests_.empty()) return true;
  int done = 0;
  std::vector<MPI_Status> statuses(requests_.size());
  int code =
      MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, statuses.data());
  if (code == MPI_ERR_IN_STATUS)
    for (const MPI_Status& status : statuses)
      if (status.MPI_ERROR != MPI_SUCCESS && status.MPI_ERROR != MPI_ERR_PENDING)
        code = status.MPI_ERROR;
  check(code, "a collective of MPI");
  return done != 0;
}

}  // namespace sculpt::mpi

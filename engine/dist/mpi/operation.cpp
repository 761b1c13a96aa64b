#include "engine/dist/mpi/operation.h"

#include <algorithm>
#include <limits>

#include "engine/core/error.h"
#include "engine/dist/mpi/status.h"

namespace sculpt::mpi {
namespace {

// MPI counts elements in an int. Longer arrays travel in pieces.
constexpr int64_t kPiece = int64_t{1} << 28;

}  // namespace

Operation::Operation(const std::string& own, std::vector<int> sizes, std::string& all)
    : call_{CallKind::gather, 0}, own_(&own), all_(&all), sizes_(std::move(sizes)) {
  int64_t total = 0;
  for (const int size : sizes_) {
    offsets_.push_back(static_cast<int>(total));
    total += size;
    if (total > std::numeric_limits<int>::max())
      fail("the texts of all ranks have more than 2 GiB together, which MPI cannot collect");
  }
  all.resize(static_cast<size_t>(total));
}

template <class Start>
void Operation::start_pieces(int64_t element_bytes, const Start& start) {
  for (int64_t begin = 0; begin < call_.elements; begin += kPiece) {
    const auto count = static_cast<int>(std::min(kPiece, call_.elements - begin));
    requests_.push_back(MPI_REQUEST_NULL);
    start(static_cast<char*>(data_) + begin * element_bytes, count, &requests_.back());
  }
}

void Operation::start(MPI_Comm communicator) {
  const auto sum = [&](MPI_Datatype type, int64_t bytes) {
    start_pieces(bytes, [&](void* data, int count, MPI_Request* request) {
      check(MPI_Iallreduce(MPI_IN_PLACE, data, count, type, MPI_SUM, communicator, request),
            "MPI_Iallreduce");
    });
  };
  switch (call_.kind) {
    case CallKind::none:
    case CallKind::end_of_sum:
      break;
    case CallKind::sum_float:
      return sum(MPI_FLOAT, sizeof(float));
    case CallKind::sum_double:
      return sum(MPI_DOUBLE, sizeof(double));
    case CallKind::sum_int64:
      return sum(MPI_INT64_T, sizeof(int64_t));
    case CallKind::broadcast:
      return start_pieces(1, [&](void* data, int count, MPI_Request* request) {
        check(MPI_Ibcast(data, count, MPI_BYTE, root_, communicator, request), "MPI_Ibcast");
      });
    case CallKind::gather:
      requests_.push_back(MPI_REQUEST_NULL);
      check(MPI_Iallgatherv(own_->data(), static_cast<int>(own_->size()), MPI_CHAR, all_->data(),
                            sizes_.data(), offsets_.data(), MPI_CHAR, communicator,
                            &requests_.back()),
            "MPI_Iallgatherv");
      return;
    case CallKind::barrier:
    case CallKind::finish:
      requests_.push_back(MPI_REQUEST_NULL);
      check(MPI_Ibarrier(communicator, &requests_.back()), "MPI_Ibarrier");
      return;
  }
}

bool Operation::test() {
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

void Operation::complete(std::string problem) {
  problem_ = std::move(problem);
  done_.store(1, std::memory_order_release);
  done_.notify_all();
}

void Operation::wait() {
  done_.wait(0, std::memory_order_acquire);
  if (!problem_.empty()) fail("{}", problem_);
}

}  // namespace sculpt::mpi

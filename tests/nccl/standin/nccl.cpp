// Takes the place of libnccl.so.2 in tests: the part of NCCL's C interface that kernels/nccl uses,
// for ranks that are processes of one machine and whose device is the host layer of CUDA.
// Collectives are work on streams and may be captured. Faults come on demand (fault.h). It refuses
// what NCCL forbids: a call while another is in progress, a capture before the first collective has
// run, memory that is not on the device, and ranks that call different things. As with NCCL,
// ncclCommFinalize does not complete while graphs hold collectives.

#include <memory>
#include <mutex>
#include <nccl.h>
#include <thread>

#include "cuda_on_host/capture.h"
#include "cuda_on_host/streams.h"
#include "tests/nccl/standin/fault.h"
#include "tests/nccl/standin/operation.h"

using standin::Arguments;
using standin::Group;
using standin::Operation;

struct ncclComm {
  std::shared_ptr<Group> group;
  bool blocking = true;
  std::mutex mutex;
  bool joined = false;
  bool finalizing = false;
  int in_progress = 0;  // questions that a call which has started answers with ncclInProgress
  uint64_t calls = 0;
  bool has_run = false;
  std::shared_ptr<Operation> held_back;  // by the fault "reorder"
  void* held_back_stream = nullptr;
};

namespace {

thread_local std::string last_error;

ncclResult_t fail(ncclResult_t code, const std::string& why) {
  last_error = "stand-in: " + why;
  return code;
}

/// A call of a communicator that does not block has only started when it returns.
ncclResult_t started(ncclComm_t comm) {
  if (comm->blocking) return ncclSuccess;
  comm->in_progress = 2;
  return ncclInProgress;
}

/// Returns whether all ranks have joined. The last one takes the name away.
bool all_joined(ncclComm_t comm) {
  Group& group = *comm->group;
  if (!comm->joined) {
    comm->joined = true;
    group.shared->joined.fetch_add(1);
  }
  if (group.shared->joined < static_cast<uint32_t>(group.size)) return false;
  group.shared.unlink();
  return true;
}

void put(void* stream, const std::shared_ptr<Operation>& operation) {
  cuda_on_host::put("a collective", stream, [operation] { return operation->step(); });
}

ncclResult_t call(ncclComm_t comm, const char* what, Arguments arguments, cudaStream_t stream) {
  const std::lock_guard lock(comm->mutex);
  Group& group = *comm->group;
  if (comm->in_progress > 0 || !comm->joined)
    return fail(ncclInvalidUsage, "called while the call before is in progress");
  if (standin::width_of(arguments.type) == 0) return fail(ncclInvalidArgument, "type");
  const std::string kind = standin::fault(group.rank, comm->calls++, standin::kOfCalls);
  if (kind == "error") return fail(ncclSystemError, "an injected error of the call");
  if (kind == "apart") --arguments.count;
  if (arguments.count == 0) return ncclSuccess;
  const bool captured = cuda_on_host::is_captured(what, stream);
  if (captured && !comm->has_run)
    return fail(ncclInvalidUsage, "captured before the first collective has run");
  comm->has_run = true;
  auto operation = std::make_shared<Operation>(comm->group, arguments);
  if (kind == "reorder") {
    comm->held_back = std::move(operation);
    comm->held_back_stream = stream;
    return started(comm);
  }
  put(stream, operation);
  if (const auto held = std::exchange(comm->held_back, nullptr)) put(comm->held_back_stream, held);
  return started(comm);
}

[[noreturn]] void sleep_for_ever() {
  for (;;)
    std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  static constexpr const char* kTexts[] = {"no error",
                                           "unhandled cuda error",
                                           "unhandled system error",
                                           "internal error",
                                           "invalid argument",
                                           "invalid usage",
                                           "remote process exited or there was a network error",
                                           "NCCL operation in progress"};
  return result >= 0 && result < ncclNumResults ? kTexts[result] : "unknown result code";
}

const char* ncclGetLastError(ncclComm_t comm) {
  if (comm != nullptr && comm->group->error != ncclSuccess) last_error = comm->group->text;
  return last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  if (standin::has_fault(0, "id")) return fail(ncclSystemError, "an injected error of the id");
  const std::string name = standin::new_name();
  if (name.empty()) return fail(ncclSystemError, "there are no random bytes");
  name.copy(id->internal, sizeof(id->internal) - 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  *out = nullptr;
  if (config == nullptr || config->magic != 0xcafebeef || config->size != sizeof(*config))
    return fail(ncclInvalidArgument, "the configuration was not initialised");
  if (size < 1 || size > standin::kMaxRanks || rank < 0 || rank >= size)
    return fail(ncclInvalidArgument, "rank or size");
  auto comm = std::make_unique<ncclComm>();
  comm->group = std::make_shared<Group>(id.internal, rank, size);
  if (!comm->group->shared.is_open()) return fail(ncclSystemError, comm->group->shared.problem());
  comm->blocking = config->blocking != 0;
  if (standin::has_fault(rank, "init"))
    comm->group->fail(ncclSystemError, "an injected error of the start");
  *out = comm.release();
  if ((*out)->blocking)
    while (!all_joined(*out))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return started(*out);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  const std::lock_guard lock(comm->mutex);
  Group& group = *comm->group;
  *result = static_cast<ncclResult_t>(group.error.load());
  if (*result != ncclSuccess) return ncclSuccess;
  const bool absent = standin::has_fault(group.rank, "absent");
  const bool waits = absent || !all_joined(comm) ||
                     (comm->finalizing &&
                      (group.users.use_count() > 1 || standin::has_fault(group.rank, "finalize")));
  if (waits || comm->in_progress > 0) *result = ncclInProgress;
  if (comm->in_progress > 0) --comm->in_progress;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream) {
  if (operation != ncclSum || type == ncclInt8 || type == ncclUint8)
    return fail(ncclInvalidArgument, "this operation is not part of the stand-in");
  return call(comm, "ncclAllReduce", {send, receive, count, type}, stream);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const std::lock_guard lock(comm->mutex);
  comm->finalizing = true;
  return started(comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (!comm->finalizing) return fail(ncclInvalidUsage, "destroyed before it was finalized");
  delete comm;
  return ncclSuccess;
}

/// As NCCL's, it ends the collectives of this rank only. It leaves the communicator behind, because
/// other threads may still ask it.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (standin::has_fault(comm->group->rank, "abort")) sleep_for_ever();
  comm->group->shared.unlink();
  comm->group->aborted = true;
  return ncclSuccess;
}

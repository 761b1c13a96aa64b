#pragma once
// Faults on demand: NCCL_STANDIN_FAULT="RANK:NUMBER:KIND[,...]". NUMBER counts the collectives of
// that rank from 0. Faults of a call count calls; captured collectives are called once. Faults of
// an execution count executions, those of each launch of a graph, too.
//
//   of a call        error     it returns ncclSystemError
//                    apart     it adds one number less than the other ranks
//                    reorder   it comes after the next collective of the rank
//   of an execution  hang      it never ends, until ncclCommAbort
//                    die       the process gets SIGKILL
//                    async     it never ends, and ncclCommGetAsyncError reports ncclRemoteError
//                    late      it ends, and ncclCommGetAsyncError reports ncclRemoteError
//                    flip      one bit of its result is wrong
//                    slow=MS   it begins that many milliseconds late
//   NUMBER ignored   init      ncclCommInitRankConfig fails
//                    absent    the rank never joins
//                    id        ncclGetUniqueId fails
//                    abort     ncclCommAbort never returns
//                    finalize  ncclCommFinalize never completes

#include <cstdint>
#include <string>

namespace standin {

/// Returns the kind of the fault of this rank for a call or an execution, or "". `kinds` lists the
/// kinds that are meant, with a space on both sides of each.
std::string fault(int rank, uint64_t number, const char* kinds);
/// Returns true if this rank has a fault whose number is ignored.
bool has_fault(int rank, const char* kind);

inline constexpr const char* kOfCalls = " error apart reorder ";
inline constexpr const char* kOfExecutions = " hang die async late flip slow ";

}  // namespace standin

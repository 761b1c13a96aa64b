#include "cuda_on_host/builtins.h"

namespace cuda_on_host {

void exchange_shuffle(WarpExchange& warp) {
  for (void* lane : warp.lane) {
    if (lane == nullptr) continue;
    auto* self = static_cast<ShuffleLane*>(lane);
    const auto* source = static_cast<const ShuffleLane*>(warp.lane[self->source]);
    self->result = source != nullptr ? source->value : 0x7fff7fff7fff7fffull;
  }
}

void exchange_votes(WarpExchange& warp) {
  uint32_t ballot = 0;
  for (int i = 0; i < 32; ++i)
    if (warp.lane[i] != nullptr && static_cast<const VoteLane*>(warp.lane[i])->predicate)
      ballot |= 1u << i;
  for (void* lane : warp.lane)
    if (lane != nullptr) static_cast<VoteLane*>(lane)->ballot = ballot;
}

void exchange_nothing(WarpExchange&) {}

}  // namespace cuda_on_host

#include <array>

#include "engine/core/registry.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

namespace {

constexpr auto kActions = std::to_array<Action>({
    {"reinit all", FilePart::none, false, reinit_all, "a fresh network under the present mask"},
    {"reinit keep signs", FilePart::none, false, reinit_keep_signs,
     "as reinit all, but weights keep their signs"},
    {"reinit keep magnitudes", FilePart::none, false, reinit_keep_magnitudes,
     "weights keep their magnitudes and take fresh signs"},
    {"shuffle mask", FilePart::none, true, shuffle_mask, "permutes the mask within each layer"},
    {"load weights", FilePart::weights, false, load_weights,
     "weights and biases of the file, under the present mask"},
    {"load mask", FilePart::masks, true, load_mask, "the mask of the file"},
    {"load signs", FilePart::weights, false, load_signs,
     "weights keep their magnitudes and take the signs of the file"},
    {"load batch_norm", FilePart::weights, false, load_batch_norm,
     "scale, shift and running statistics of batch norm of the file"},
});

}  // namespace

std::span<const Action> actions() {
  return kActions;
}

const Action& find_action(std::string_view name) {
  return find_row(kActions, name, "action");
}

}  // namespace sculpt

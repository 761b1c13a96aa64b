#include "apps/sculpt_run/inputs.h"

#include "apps/sculpt_run/environment.h"

namespace sculpt {

void add_files(const Request& request, RunInputs& inputs) {
  inputs.initial_path = request.options.model.init_from;
  if (request.initial) inputs.initial = request.initial->fingerprint();
  if (request.files) inputs.loaded = request.files->fingerprints();
}

void follow_recorded_inputs(const RunFolder& folder, RunInputs& inputs) try {
  if (!std::filesystem::exists(folder.environment())) return;
  const RunInputs recorded = recorded_inputs(read_text(folder.environment()));
  require_same_inputs(recorded, inputs);
  if (inputs.initial.empty()) inputs.initial = recorded.initial;
  inputs.loaded.insert(recorded.loaded.begin(), recorded.loaded.end());
} catch (const OtherInputs& error) {
  throw UsageError(error.what());
}

void require_start(const Request& request, Network& network) try {
  if (!request.initial) return;
  request.initial->load_into(network.parameters());
  require_density_left(request.plan, network.parameters());
} catch (const Error& error) {
  throw UsageError(error.what());
}

void require_plan_files(const Request& request, const Network& network) try {
  if (request.files) request.files->fit_to(network.parameters());
} catch (const Error& error) {
  throw UsageError(error.what());
}

void load_initial(const Request& request, ParameterArena& parameters) {
  const std::string& path = request.options.model.init_from;
  if (request.initial)
    request.initial->load_into(parameters);
  else if (!path.empty())
    fail(
        "model.init_from: there is no file {}, but the run needs it, because it has no checkpoint "
        "to go on from; restore the file",
        path);
}

}  // namespace sculpt

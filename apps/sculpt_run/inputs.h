#pragma once
// The inputs of a run are the data set and the file model.init_from. A resumed run must read the
// same inputs as at its start.

#include "apps/sculpt_run/request.h"
#include "engine/nn/network.h"
#include "engine/run/run_folder.h"

namespace sculpt {

/// Adds the path of the file model.init_from, and its fingerprint if the file has been read.
void add_initial(const Request& request, RunInputs& inputs);

/// Call this before a resume. Throws UsageError if the folder's environment.json records other
/// inputs. Copies the recorded fingerprint of a file that is missing now.
void follow_recorded_inputs(const RunFolder& folder, RunInputs& inputs);

/// Call this before a start. Loads the file model.init_from, if there is one. Throws UsageError if
/// the file does not fit the network, or if its masks do not fit the plan.
void require_start(const Request& request, Network& network);

/// Loads the file model.init_from, if there is one, over the initial values. Throws Error if the
/// file is missing.
void load_initial(const Request& request, ParameterArena& parameters);

}  // namespace sculpt

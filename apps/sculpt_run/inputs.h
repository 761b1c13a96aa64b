#pragma once
// The inputs of a run are the data set, the file model.init_from and the files that its plan loads.
// A resumed run must read the same inputs as at its start.

#include "apps/sculpt_run/request.h"
#include "engine/nn/network.h"
#include "engine/run/run_folder.h"

namespace sculpt {

/// Adds the path of the file model.init_from, and the fingerprints of this file and of the files
/// that the plan loads, if they have been read.
void add_files(const Request& request, RunInputs& inputs);

/// Call this before a resume. Throws UsageError if the folder's environment.json records other
/// inputs. Copies the recorded fingerprints of files that were not read now.
void follow_recorded_inputs(const RunFolder& folder, RunInputs& inputs);

/// Call this before a start. Loads the file model.init_from, if there is one. Throws UsageError if
/// the file does not fit the network, or if its masks do not fit the plan.
void require_start(const Request& request, Network& network);

/// Throws UsageError if a file that the rest of the plan loads does not fit the network.
void require_plan_files(const Request& request, const Network& network);

/// Loads the file model.init_from, if there is one, over the initial values. Throws Error if the
/// file is missing.
void load_initial(const Request& request, ParameterArena& parameters);

}  // namespace sculpt

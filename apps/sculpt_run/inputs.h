#pragma once
// The inputs of a run: the data set and the file of model.init_from. A run that is resumed must
// read what it was started with.

#include "apps/sculpt_run/request.h"
#include "engine/nn/network.h"
#include "engine/run/run_folder.h"

namespace sculpt {

/// Names the file of model.init_from, and its fingerprint where the file has been read.
void add_initial(const Request& request, RunInputs& inputs);

/// A resume calls this function: it throws UsageError if the folder's environment.json records
/// other inputs. Takes over what it records of a file that is not there any more.
void follow_recorded_inputs(const RunFolder& folder, RunInputs& inputs);

/// A run that starts calls this function: it loads the file of model.init_from, if there is one.
/// Throws UsageError if it does not fit the network, or if its masks do not fit the plan.
void require_start(const Request& request, Network& network);

/// Puts the file of model.init_from, if there is one, over the initialisation. Throws Error if it
/// is missing.
void load_initial(const Request& request, ParameterArena& parameters);

}  // namespace sculpt

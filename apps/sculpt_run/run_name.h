#pragma once
// The name of a run's folder, for runs without --out.

#include <string>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/run_options.h"

namespace sculpt {

/// runs/<config>-<method>[-<changes>]-s<seed>. The changes are those of --set, and threads, device,
/// libraries and instruction set where the command names them. Two commands on one config that
/// differ in anything that changes the bits of the result get two names.
///
/// Where --set changes the method, the name begins with the new one: imp.toml run as pai is
/// pai-from-imp.
std::string default_folder(const CommandLine& line);

}  // namespace sculpt

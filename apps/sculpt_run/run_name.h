#pragma once
// Names the folder of a run that is given no --out.

#include <string>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/run_options.h"

namespace sculpt {

/// Returns runs/<config>-<method>[-<changes>]-s<seed>. The changes are those of --set, and threads,
/// device, libraries and instruction set if the command names them. Keys appear under their first
/// names (key_names.h). Two commands on one config that differ in anything that changes the bits of
/// the result get two names.
///
/// If --set changes the method, the name begins with the new one: imp.toml run as pai becomes
/// pai-from-imp.
std::string default_folder(const CommandLine& line);

}  // namespace sculpt

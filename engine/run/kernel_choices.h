#pragma once
// kernel_choices.json of a run folder records which kernels were chosen by timing during the run.
// It has one member for each problem, whose value is the name of the choice. A resumed run, and a
// run that is started from the folder's config.toml, use the recorded choices again and therefore
// compute the same bits.

#include <filesystem>
#include <string>

#include "kernels/tuning/chooser.h"

namespace sculpt {

std::string kernel_choices_json(const kernels::Choices& choices);

/// Returns the choices in the file, or none if the file does not exist. Throws Error naming the
/// file and the fix if the file holds something else.
kernels::Choices read_kernel_choices(const std::filesystem::path& path);

}  // namespace sculpt

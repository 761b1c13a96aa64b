#pragma once
// kernel_choices.json of a run folder: the choices between kernels that timing made for the run,
// one member for each problem, with the word of the choice. A resumed run, and a run that is
// started from the folder's config.toml, make them again, and so give the same bits.

#include <filesystem>
#include <string>

#include "kernels/tuning/chooser.h"

namespace sculpt {

std::string kernel_choices_json(const kernels::Choices& choices);

/// The choices in the file; none if there is no such file. Throws Error naming file and fix if it
/// holds something else.
kernels::Choices read_kernel_choices(const std::filesystem::path& path);

}  // namespace sculpt

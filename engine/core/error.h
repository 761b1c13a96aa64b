#pragma once
// sculpt::Error, fail() and SCULPT_CHECK for everything above the kernels.

#include "kernels/common/check.h"  // IWYU pragma: export

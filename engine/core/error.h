#pragma once
// This file gives sculpt::Error, fail() and SCULPT_CHECK to everything above the kernels.

#include "kernels/common/check.h"  // IWYU pragma: export

#pragma once
// Declares the rows of the table of mask rules (mask_rule.cpp). Each rule has a file of its own,
// which defines its row.

#include "engine/masks/mask_change.h"
#include "engine/masks/mask_rule.h"

namespace sculpt::rules {

MaskRule gmp();
MaskRule granet();
MaskRule set();
MaskRule rigl();
MaskRule itop();
MaskRule acdc();
MaskRule str();

}  // namespace sculpt::rules

#pragma once
// Declares the functions of the rows of the table in mask_rule.cpp; each rule has a file of its
// own. MaskRule documents the functions.

#include "engine/masks/mask_change.h"
#include "engine/masks/mask_rule.h"

namespace sculpt {

namespace gmp {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace gmp

namespace granet {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace granet

namespace set {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace set

namespace rigl {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace rigl

namespace itop {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace itop

namespace acdc {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace acdc

namespace str {
bool changes_after(const SchedulePosition& position, const MaskOptions& options);
double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);
void change(MaskChange& change);
}  // namespace str

}  // namespace sculpt

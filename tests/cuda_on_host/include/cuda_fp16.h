#pragma once
// Takes the place of the CUDA toolkit's header of the same name, which nccl.h includes although its
// functions use none of it.

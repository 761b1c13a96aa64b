// Batch norm runs on a few rows of a block of images at a time, in any order, and gives the bits of
// the whole batch.

#include <algorithm>
#include <initializer_list>
#include <limits>

#include "tests/kernels/batch_norm_fixtures.h"
#include "tests/kernels/row_ranges.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using namespace sculpt::kernels::test::batch_norm;

/// The data of a block of images.
void* at_block(const Backend& backend, Activation& of, const ActivationShape& shape,
               int64_t block) {
  const int64_t elements = block * shape.block_stride() * backend.lanes;
  return static_cast<std::byte*>(of.data()) +
         elements * static_cast<int64_t>(backend.activation_bytes);
}

/// An activation gradient, whose padded lanes must be zero once it is written.
Activation make_gradient(const Backend& backend, const Case& c, const Launch& launch,
                         const Values& before, GradWrite write) {
  if (write == GradWrite::overwrite) return {backend, c.shape, launch};
  return {backend, c.shape, launch, before, 0.0};
}

/// If `copies` is true, the kernels also write copies, and they write the residual's gradient with
/// stores that bypass the cache.
void check_blocks(const Backend& backend, const Case& c, const Mode& mode, bool copies) {
  const BatchNormBlockKernels& kernels = backend.batch_norm.on_blocks;
  BatchNormOptions options;
  options.relu = mode.relu;
  const Inputs in = make_inputs(c, 75);
  const Values gradient = random_values(c.count(), 76), before = random_values(c.count(), 77);
  const Forward whole = run_forward_train(backend, c, in, mode.with_residual, options);
  const Backward whole_gradients = run_backward(backend, c, in, gradient, before, mode);

  const Launch launch = make_launch(backend, c.batch);
  const Values blank(static_cast<size_t>(c.shape.channels), 77.0);
  Activation x(backend, c.shape, launch, in.x, 1000.0);
  Activation residual(backend, c.shape, launch, in.residual, -1000.0);
  Activation y(backend, c.shape, launch), dy(backend, c.shape, launch, gradient, 0.0);
  Activation x_copy(backend, c.shape, launch), y_copy(backend, c.shape, launch),
      dy_copy(backend, c.shape, launch);
  Activation dx = make_gradient(backend, c, launch, before, mode.write_dx);
  Activation dresidual = make_gradient(backend, c, launch, before, mode.write_dresidual);
  Array gamma(backend, in.gamma), beta(backend, in.beta);
  Array mean(backend, blank), inv_std(backend, blank), dgamma(backend, blank),
      dbeta(backend, blank);
  Array running_mean(backend, in.running_mean), running_var(backend, in.running_var);
  const int64_t blocks = backend.blocks(c.batch);
  const int64_t chunks = blocks * bands_of(c.shape);
  Values partials(static_cast<size_t>(2 * c.shape.channels * chunks));
  const ChannelSums sums = {partials.data(), chunks};
  const auto forget_sums = [&] {
    std::ranges::fill(partials, std::numeric_limits<double>::quiet_NaN());
  };
  // The last block runs first, and its rows run in any order, because no row may depend on another.
  // A call must write only its own rows of `outputs`, which may be null.
  const auto for_each_part = [&](uint64_t seed, std::initializer_list<const Activation*> outputs,
                                 const auto& body) {
    int64_t written = 0;
    for (int64_t b = blocks - 1; b >= 0; --b) {
      const auto at = [&](Activation& of) { return at_block(backend, of, c.shape, b); };
      const Launch part =
          make_launch(backend, std::min(backend.lanes, c.batch - b * backend.lanes));
      for (const RowRange& rows : shuffled_row_ranges(c.shape, seed + static_cast<uint64_t>(b))) {
        body(b, rows, part, at);
        written += part.batch * c.shape.channels * rows.count() * c.shape.width;
        for (const Activation* output : outputs)
          if (output != nullptr) CHECK(output->written() == written);
      }
    }
  };
  const auto if_copied = [&](const Activation& of) { return copies ? &of : nullptr; };
  const auto if_overwritten = [&](const Activation& of, GradWrite write) {
    return write == GradWrite::overwrite ? &of : nullptr;
  };

  forget_sums();
  for_each_part(100, {if_copied(x_copy)},
                [&](int64_t b, const RowRange& rows, const Launch& part, const auto& at) {
                  kernels.sum({.x = at(x), .shape = c.shape, .launch = part}, sums, b, rows,
                              copies ? at(x_copy) : nullptr);
                });
  kernels.finish({.saved_mean = mean.data(),
                  .saved_inv_std = inv_std.data(),
                  .running_mean = running_mean.data(),
                  .running_var = running_var.data(),
                  .shape = c.shape,
                  .options = options,
                  .launch = launch},
                 sums);
  for_each_part(200, {&y, if_copied(y_copy)},
                [&](int64_t, const RowRange& rows, const Launch& part, const auto& at) {
                  kernels.apply({.y = at(y),
                                 .x = at(x),
                                 .residual = mode.with_residual ? at(residual) : nullptr,
                                 .gamma = gamma.data(),
                                 .beta = beta.data(),
                                 .saved_mean = mean.data(),
                                 .saved_inv_std = inv_std.data(),
                                 .shape = c.shape,
                                 .options = options,
                                 .launch = part},
                                rows, copies ? at(y_copy) : nullptr);
                });
  CHECK(y.nchw() == whole.y.nchw());
  CHECK(y.frame_intact());
  CHECK(mean.values() == whole.mean.values());
  CHECK(inv_std.values() == whole.inv_std.values());
  CHECK(running_mean.values() == whole.running_mean.values());
  CHECK(running_var.values() == whole.running_var.values());

  forget_sums();
  for_each_part(300, {if_copied(dy_copy)},
                [&](int64_t b, const RowRange& rows, const Launch& part, const auto& at) {
                  kernels.sum_grad({.dy = at(dy),
                                    .x = at(x),
                                    .y = mode.with_residual ? at(y) : nullptr,
                                    .gamma = gamma.data(),
                                    .beta = beta.data(),
                                    .saved_mean = mean.data(),
                                    .saved_inv_std = inv_std.data(),
                                    .shape = c.shape,
                                    .options = options,
                                    .launch = part},
                                   sums, b, rows, copies ? at(dy_copy) : nullptr);
                });
  kernels.finish_grad({.dgamma = dgamma.data(),
                       .dbeta = dbeta.data(),
                       .saved_inv_std = inv_std.data(),
                       .shape = c.shape,
                       .launch = launch},
                      sums);
  for_each_part(400,
                {if_overwritten(dx, mode.write_dx),
                 mode.with_residual ? if_overwritten(dresidual, mode.write_dresidual) : nullptr},
                [&](int64_t, const RowRange& rows, const Launch& part, const auto& at) {
                  kernels.apply_grad({.dx = at(dx),
                                      .dresidual = mode.with_residual ? at(dresidual) : nullptr,
                                      .write_dx = mode.write_dx,
                                      .write_dresidual = mode.write_dresidual,
                                      .dgamma = dgamma.data(),
                                      .dbeta = dbeta.data(),
                                      .dy = at(dy),
                                      .x = at(x),
                                      .y = mode.with_residual ? at(y) : nullptr,
                                      .gamma = gamma.data(),
                                      .beta = beta.data(),
                                      .saved_mean = mean.data(),
                                      .saved_inv_std = inv_std.data(),
                                      .shape = c.shape,
                                      .options = options,
                                      .launch = part},
                                     c.batch, rows, copies);
                });
  CHECK(dx.nchw() == whole_gradients.dx);
  CHECK(dx.frame_intact());
  CHECK(dx.padded_lanes_zero());
  CHECK(dgamma.values() == whole_gradients.dgamma);
  CHECK(dbeta.values() == whole_gradients.dbeta);
  if (mode.with_residual) {
    CHECK(dresidual.nchw() == whole_gradients.dresidual);
    CHECK(dresidual.frame_intact());
    CHECK(dresidual.padded_lanes_zero());
  }
  if (copies) {
    CHECK(x_copy.nchw() == in.x);
    CHECK(x_copy.frame_intact());
    CHECK(y_copy.nchw() == whole.y.nchw());
    CHECK(y_copy.frame_intact());
    CHECK(y_copy.padded_lanes_finite());
    CHECK(dy_copy.nchw() == gradient);
    CHECK(dy_copy.frame_intact());
    CHECK(dy_copy.padded_lanes_zero());
  }
}

TEST_CASE("batch norm: rows of a block at a time, the bits of the whole batch" * needs_cpu()) {
  for (const Backend* backend : tested_backends()) {
    for (const Case& c : kCases) {
      for (int variant = 0; variant < 16; ++variant) {
        const bool copies = variant & 4;
        Mode mode;
        mode.relu = variant & 1;
        mode.with_residual = variant & 2;
        mode.write_dx = kWrites[variant / 8];
        // A gradient with a copy is streamed, and a streamed gradient is overwritten.
        mode.write_dresidual = copies ? GradWrite::overwrite : mode.write_dx;
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(mode.name());
        CAPTURE(copies);
        check_blocks(*backend, c, mode, copies);
      }
    }
  }
}

}  // namespace

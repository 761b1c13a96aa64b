// Batch norm on the parts of a batch that processes share, against batch norm on the whole batch.

#include <algorithm>

#include "kernels/common/shared_batch.h"
#include "tests/kernels/batch_norm_fixtures.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using namespace sculpt::kernels::test::batch_norm;

/// What one process hands over in each of its calls of add_up.
using Handed = std::vector<Values>;

/// Takes the place of the other processes: adds what they handed over when they ran before.
class Exchange {
 public:
  Exchange(const Backend& backend, std::vector<const Handed*> others, int64_t images)
      : backend_(backend), others_(std::move(others)), images_(images) {}

  SharedBatch batch() {
    return {[](void* self, double* sums, int64_t count, void*) {
              static_cast<Exchange*>(self)->add_up(sums, count);
            },
            this, images_};
  }
  Handed handed;

 private:
  void add_up(double* sums, int64_t count) {
    Values values(static_cast<size_t>(count));
    const size_t bytes = values.size() * sizeof(double);
    const DeviceMemory* memory = backend_.memory;
    if (memory != nullptr)
      memory->copy_out(values.data(), sums, bytes);
    else
      std::copy(sums, sums + count, values.begin());
    const size_t call = handed.size();
    handed.push_back(values);
    for (const Handed* other : others_)
      if (call < other->size())
        for (size_t i = 0; i < values.size(); ++i)
          values[i] += (*other)[call][i];
    if (memory != nullptr)
      memory->copy_in(sums, values.data(), bytes);
    else
      std::copy(values.begin(), values.end(), sums);
  }

  const Backend& backend_;
  std::vector<const Handed*> others_;
  int64_t images_;
};

struct Part {
  int64_t first, count;
};

Values slice(const Values& whole, const Case& c, const Part& part) {
  const int64_t image = c.count() / c.batch;
  return {whole.begin() + part.first * image, whole.begin() + (part.first + part.count) * image};
}

Inputs inputs_of(const Inputs& whole, const Case& c, const Part& part) {
  Inputs in = whole;
  in.x = slice(whole.x, c, part);
  in.residual = slice(whole.residual, c, part);
  return in;
}

/// Runs body(part, shared) for each part, again and again until every part has seen what the others
/// hand over in their last call.
template <class Body>
void run_parts(const Backend& backend, int64_t images, const std::vector<Part>& parts,
               const Body& body) {
  constexpr int kMostCalls = 4;  // two in the forward and two in the backward pass of the reference
  std::vector<Handed> handed(parts.size());
  for (int round = 0; round <= kMostCalls; ++round) {
    std::vector<Handed> now(parts.size());
    for (size_t p = 0; p < parts.size(); ++p) {
      std::vector<const Handed*> others;
      for (size_t other = 0; other < parts.size(); ++other)
        if (other != p) others.push_back(&handed[other]);
      Exchange exchange(backend, others, images);
      const SharedBatch shared = exchange.batch();
      body(p, shared, round == kMostCalls);
      now[p] = exchange.handed;
    }
    handed = now;
  }
}

/// Ways of sharing `images` images: evenly, unevenly, and with a process that has no images.
std::vector<std::vector<Part>> ways(int64_t images) {
  return {{{0, images / 2}, {images / 2, images - images / 2}},
          {{0, 1}, {1, images - 1}},
          {{0, images / 3}, {images / 3, images - images / 3}, {images, 0}}};
}

TEST_CASE("batch norm: processes that share a batch get what one process gets") {
  for (const Backend* backend : all_backends())
    for (const Case& c : {Case{5, {2, 4, 3, 1}}, Case{33, {5, 3, 3, 2}}, Case{37, {17, 1, 1, 0}},
                          Case{20, {3, 30, 5, 2}}})
      for (const bool relu : {false, true})
        for (const bool with_residual : {false, true})
          for (const auto& parts : ways(c.batch)) {
            CAPTURE(backend->name);
            CAPTURE(c.name());
            CAPTURE(relu);
            CAPTURE(with_residual);
            CAPTURE(parts.size());
            const Mode mode = {.relu = relu, .with_residual = with_residual};
            BatchNormOptions options;
            options.relu = relu;
            const Inputs in = make_inputs(c, 81);
            const Values dy = random_values(c.count(), 82), before(dy.size());
            const Forward whole = run_forward_train(*backend, c, in, with_residual, options);
            const Backward gradients = run_backward(*backend, c, in, dy, before, mode);
            run_parts(
                *backend, c.batch, parts, [&](size_t p, const SharedBatch& shared, bool last) {
                  const Part& part = parts[p];
                  const Case own = {part.count, c.shape};
                  const Inputs of_part = inputs_of(in, c, part);
                  Forward f = run_forward_train(*backend, own, of_part, with_residual, options,
                                                nullptr, &shared);
                  if (!last) return;
                  CHECK(max_error(f.y.nchw(), slice(whole.y.nchw(), c, part)) <
                        tolerance(*backend, 1e-5));
                  CHECK(max_error(f.mean.values(), whole.mean.values()) < 1e-6);
                  CHECK(max_error(f.inv_std.values(), whole.inv_std.values()) < 1e-5);
                  CHECK(max_error(f.running_mean.values(), whole.running_mean.values()) < 1e-6);
                  CHECK(max_error(f.running_var.values(), whole.running_var.values()) < 1e-5);
                });
            run_parts(
                *backend, c.batch, parts, [&](size_t p, const SharedBatch& shared, bool last) {
                  const Part& part = parts[p];
                  const Case own = {part.count, c.shape};
                  const Values own_dy = slice(dy, c, part);
                  const Backward b = run_backward(*backend, own, inputs_of(in, c, part), own_dy,
                                                  Values(own_dy.size()), mode, &shared);
                  if (!last) return;
                  CHECK(max_error(b.dx, slice(gradients.dx, c, part)) < tolerance(*backend, 3e-5));
                  CHECK(max_error(b.dgamma, gradients.dgamma) < 3e-5);
                  CHECK(max_error(b.dbeta, gradients.dbeta) < 3e-5);
                });
          }
}

TEST_CASE("batch norm: the shared variance is accurate far from zero") {
  const Case c{40, {3, 8, 8, 1}};
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Inputs in = make_inputs(c, 83, 3000.0, 1.0);
    for (double& mean : in.running_mean)
      mean += 3000;  // as after some steps
    BatchNormOptions options;
    options.eps = 1e-12f;
    const Forward whole = run_forward_train(*backend, c, in, false, options);
    const std::vector<Part> parts = {{0, 13}, {13, 27}};
    run_parts(*backend, c.batch, parts, [&](size_t p, const SharedBatch& shared, bool last) {
      const Forward f =
          run_forward_train(*backend, {parts[p].count, c.shape}, inputs_of(in, c, parts[p]), false,
                            options, nullptr, &shared);
      if (!last) return;
      for (size_t k = 0; k < 3; ++k)
        CHECK(f.inv_std.get(k) == doctest::Approx(whole.inv_std.get(k)).epsilon(1e-5));
    });
  }
}

}  // namespace

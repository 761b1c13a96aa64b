// The backend gives some passes of a convolution to a library, with a workspace. The tests check
// which passes and how many bytes. tests/kernels/conv2d_test.cpp and linear_test.cpp check the
// results on the same tables.

#include <cuda_runtime.h>
#include <deque>

#include "kernels/common/check.h"
#include "kernels/cuda/conv2d/library.h"
#include "kernels/cuda/conv2d/parts.h"
#include "kernels/cuda/device/backend.h"
#include "kernels/device/conv_library.h"
#include "tests/cuda/on_host/loop_library.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::cuda;
using namespace sculpt::kernels::test;
using sculpt::test::loop_chooser;
using sculpt::test::loop_library;
using sculpt::test::loop_library_state;
using sculpt::test::LoopLibrary;

Conv2dShape small_shape() {
  Conv2dShape shape;
  shape.in = {4, 5, 6, 0};
  shape.out = {8, 5, 6, 0};
  shape.kernel_h = shape.kernel_w = 3;
  shape.padding = 1;
  return shape;
}

const Backend& fp32_backend() {
  return *cuda::backends().front();
}

/// Runs the three passes of one convolution with exactly the workspace that was requested for
/// `max_batch`.
struct Step {
  Step(LibraryConvolutions& conv, const Conv2dShape& shape, int64_t batch, int64_t max_batch,
       GradWrite write = GradWrite::overwrite) {
    const Backend& b = fp32_backend();
    const Launch launch = make_launch(b, batch);
    const Values in = random_values(batch * shape.in.elements_per_image(), 1);
    const Values out = random_values(batch * shape.out.elements_per_image(), 2);
    Array x(b, in), dx(b, in), y(b, out), dy(b, out);
    Array weight(b, random_values(shape.weight_count(), 3)), dweight(b, weight.values());
    Array bias(b, random_values(shape.out.channels, 4)), dbias(b, bias.values());
    void* const workspace = b.memory->allocate(conv.workspace_bytes(shape, max_batch));
    conv.forward({.y = y.data(),
                  .x = x.data(),
                  .weight = weight.data(),
                  .bias = bias.data(),
                  .workspace = workspace,
                  .launch = launch},
                 shape);
    conv.input_grad({.dx = dx.data(),
                     .write = write,
                     .dy = dy.data(),
                     .weight = weight.data(),
                     .workspace = workspace,
                     .launch = launch},
                    shape);
    conv.weight_grad({.dweight = dweight.data(),
                      .dbias = dbias.data(),
                      .write = write,
                      .dy = dy.data(),
                      .x = x.data(),
                      .workspace = workspace,
                      .launch = launch},
                     shape);
    b.memory->free(workspace);
    results = {y.values(), dx.values(), dweight.values(), dbias.values()};
  }
  std::vector<Values> results;
};

bool same_results(const Step& a, const Step& b) {
  for (size_t i = 0; i < a.results.size(); ++i)
    if (!(relative_error(a.results[i], b.results[i]) < 2e-5)) return false;
  return true;
}

/// Resets the library, so that later suites of this program find one that does not refuse.
struct FreshLibrary {
  FreshLibrary() { loop_library_state().reset(); }
  ~FreshLibrary() { loop_library_state().reset(); }
  FreshLibrary(const FreshLibrary&) = delete;
  FreshLibrary& operator=(const FreshLibrary&) = delete;
};

/// Returns a new object each time, because it remembers what the library refused.
Chooser& all_to_library() {
  static std::deque<Chooser> choosers;
  return choosers.emplace_back();
}

LoopLibrary& fresh_library() {
  loop_library_state().reset();
  return loop_library_state();
}

Step native_step(const Conv2dShape& shape, int64_t batch) {
  const auto refuses = loop_library_state().refuses;
  loop_library_state().refuses = [](const LibraryProblem&) { return true; };
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  Step step(conv, shape, batch, batch);
  loop_library_state().refuses = refuses;
  return step;
}

TEST_CASE_FIXTURE(FreshLibrary, "library convolutions: a backend's tables lead to the library") {
  LoopLibrary& library = fresh_library();
  for (const Backend* native : cuda::backends()) {
    const Backend& backend = *library_backend(*native, loop_library(), loop_chooser());
    CHECK(backend.name == std::string(native->name) + "-cudnn");
    CHECK(&backend == library_backend(*native, loop_library(), loop_chooser()));
    library.runs = 0;
    const Launch launch = make_launch(backend, 2);
    const LinearShape shape = {8, 8};
    const Conv2dShape image = small_shape();
    DeviceScratch x(backend, 4096), y(backend, 4096), weight(backend, 4096);
    DeviceScratch workspace(backend, std::max(backend.linear.workspace_bytes(shape, 2),
                                              backend.conv2d.workspace_bytes(image, 2)));
    backend.linear.forward({.y = y.data(),
                            .x = x.data(),
                            .weight = weight.data(),
                            .workspace = workspace.data(),
                            .launch = launch},
                           shape);
    CHECK(library.runs == 1);
    backend.conv2d.forward({.y = y.data(),
                            .x = x.data(),
                            .weight = weight.data(),
                            .workspace = workspace.data(),
                            .launch = launch},
                           image);
    CHECK(library.runs == 2);
  }
}

TEST_CASE_FIXTURE(FreshLibrary, "library convolutions: every pass is the library's, planned once") {
  LoopLibrary& library = fresh_library();
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  const Conv2dShape shape = small_shape();
  const Step first(conv, shape, 6, 6);
  CHECK(library.runs == 3);
  const int plans = library.plans;
  CHECK(plans == 4);  // the input gradient that overwrites, and the one that adds
  Step(conv, shape, 6, 6);
  Step(conv, shape, 6, 6, GradWrite::accumulate);
  CHECK(library.runs == 9);
  CHECK(library.plans == plans);
  CHECK(same_results(first, native_step(shape, 6)));
}

TEST_CASE_FIXTURE(FreshLibrary, "library convolutions: what the library refuses is ours") {
  const Conv2dShape shape = small_shape();
  for (const ConvPass refused : kConvPasses) {
    LoopLibrary& library = fresh_library();
    library.refuses = [refused](const LibraryProblem& p) { return p.pass == refused; };
    LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
    const Step step(conv, shape, 3, 3);
    CHECK(library.runs == 2);
    CHECK(same_results(step, native_step(shape, 3)));
  }
  // The library refuses only the input gradient that adds. It still computes the one that
  // overwrites.
  LoopLibrary& library = fresh_library();
  library.refuses = [](const LibraryProblem& p) { return p.accumulate; };
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  Step(conv, shape, 3, 3, GradWrite::accumulate);
  CHECK(library.runs == 2);
  Step(conv, shape, 3, 3);
  CHECK(library.runs == 5);
}

TEST_CASE_FIXTURE(FreshLibrary, "library convolutions: what the library refuses is said") {
  LoopLibrary& library = fresh_library();
  library.refuses = [](const LibraryProblem& p) {
    return p.pass == ConvPass::weight_grad || p.accumulate;
  };
  Chooser chooser;
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), chooser);
  conv.workspace_bytes(small_shape(), 3);
  const std::string layer = " 4x5x6 to 8x5x6, kernel 3x3, stride 1, padding 1, groups 1, batch 3";
  CHECK(chooser.made() == Choices{{"fp32 forward" + layer, Choice::library},
                                  {"fp32 input_grad" + layer, Choice::library},
                                  {"fp32 input_grad added" + layer, Choice::native},
                                  {"fp32 weight_grad" + layer, Choice::native}});
  REQUIRE(chooser.refusals().size() == 2);
  CHECK(chooser.refusals()[0].problem == "fp32 input_grad added" + layer);
  CHECK(chooser.refusals()[0].reason == "loops were told to refuse");
  CHECK(describe_fallbacks(chooser) ==
        "execution.conv = cudnn: Sculpt's own kernels run 2 of 4 passes: " +
            chooser.refusals()[0].problem + ", ... (loops were told to refuse)");
}

TEST_CASE_FIXTURE(FreshLibrary,
                  "library convolutions: a smaller batch makes do with the workspace there is") {
  LoopLibrary& library = fresh_library();
  const Conv2dShape shape = small_shape();
  // A library may need a larger workspace for fewer images. The project's kernels never do.
  constexpr size_t kMuch = size_t{1} << 20;
  library.workspace = [](const LibraryProblem& p) { return p.batch == 2 ? kMuch : size_t{64}; };
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  CHECK(conv.workspace_bytes(shape, 8) < kMuch);
  const Step two(conv, shape, 2, 8);
  CHECK(library.runs == 0);
  CHECK(same_results(two, native_step(shape, 2)));
  Step(conv, shape, 5, 8);
  CHECK(library.runs == 3);

  // A network of two images gets the workspace that it needs, and a larger network then gets it,
  // too.
  LibraryConvolutions other(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  CHECK(other.workspace_bytes(shape, 2) >= kMuch);
  CHECK(other.workspace_bytes(shape, 8) >= kMuch);
  library.runs = 0;
  Step(other, shape, 2, 8);
  CHECK(library.runs == 3);
}

TEST_CASE_FIXTURE(
    FreshLibrary,
    "library convolutions: a later network leaves an earlier one's workspace enough") {
  LoopLibrary& library = fresh_library();
  const Conv2dShape shape = small_shape();
  constexpr size_t kMuch = size_t{1} << 20;
  library.workspace = [](const LibraryProblem& p) { return p.batch == 2 ? kMuch : size_t{64}; };
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  const size_t of_eight = conv.workspace_bytes(shape, 8);
  REQUIRE(of_eight < kMuch);
  // Two images of the network of eight would run the plans that the network of two asks for.
  CHECK(conv.workspace_bytes(shape, 2) <= of_eight);
  const Step two(conv, shape, 2, 8);
  CHECK(library.runs == 0);
  CHECK(same_results(two, native_step(shape, 2)));
}

TEST_CASE_FIXTURE(
    FreshLibrary,
    "library convolutions: a plan lives on when a later network chooses our kernels") {
  LoopLibrary& library = fresh_library();
  const Conv2dShape shape = small_shape();
  constexpr size_t kMuch = size_t{1} << 20;
  library.workspace = [](const LibraryProblem&) { return kMuch; };
  Chooser chooser({{}, "a machine", [](const std::string&) {}});
  Choices recorded;
  for (const ConvPass pass : kConvPasses)
    for (const int64_t batch : {3, 8})
      recorded[describe({Precision::fp32, pass, shape, batch})] =
          batch == 3 ? Choice::native : Choice::library;
  chooser.recall(recorded);
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), chooser);
  CHECK(conv.workspace_bytes(shape, 8) >= kMuch);
  Step(conv, shape, 3, 8);  // as a network of eight does before it captures a graph
  CHECK(library.runs == 3);
  // The network of three neither destroys what the graph launches nor pays for it.
  CHECK(conv.workspace_bytes(shape, 3) == fp32_backend().conv2d.workspace_bytes(shape, 3));
  CHECK(library.destroyed == 0);
  Step(conv, shape, 3, 3);
  CHECK(library.runs == 3);
}

TEST_CASE_FIXTURE(FreshLibrary,
                  "library convolutions: a convolution that was not planned is refused") {
  fresh_library();
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), all_to_library());
  const Conv2dShape shape = small_shape();
  conv.workspace_bytes(shape, 2);
  CHECK_THROWS_AS(
      conv.forward({.y = nullptr, .x = nullptr, .weight = nullptr, .launch = {3, nullptr}}, shape),
      sculpt::Error);
}

TEST_CASE_FIXTURE(FreshLibrary,
                  "library convolutions: choices are measured, named, and made again") {
  LoopLibrary& library = fresh_library();
  const Conv2dShape shape = small_shape();
  Chooser chooser({{}, "a machine", [](const std::string&) {}});
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), chooser);
  conv.workspace_bytes(shape, 4);
  CHECK(library.runs > 3);  // measured
  const std::string forward =
      "fp32 forward 4x5x6 to 8x5x6, kernel 3x3, stride 1, padding 1, groups 1, batch 4";
  CHECK(chooser.made().size() == 3);
  CHECK(chooser.made().contains(forward));
  CHECK(same_results(Step(conv, shape, 4, 4), native_step(shape, 4)));

  for (const bool native_forward : {false, true}) {
    Choices recorded = chooser.made();
    for (auto& [problem, choice] : recorded)
      choice = (problem == forward) == native_forward ? Choice::native : Choice::library;
    Chooser again({{}, "a machine", [](const std::string&) {}});
    again.recall(recorded);
    LibraryConvolutions resumed(fp32_backend(), Precision::fp32, loop_library(), again);
    library.runs = 0;
    Step(resumed, shape, 4, 4);
    CHECK(library.runs == (native_forward ? 2 : 1));
    CHECK(again.made() == recorded);
    Step(resumed, shape, 3, 4);  // a smaller batch follows the larger one's choices
    CHECK(library.runs == (native_forward ? 4 : 2));
  }
}

int forwards_with_sums = 0, forwards_without = 0;

/// Returns a backend whose forward pass counts the calls with and without a request for channel
/// sums.
Backend counting_backend() {
  forwards_with_sums = forwards_without = 0;
  Backend counting = fp32_backend();
  counting.conv2d.forward = [](const ConvForward& args, const Conv2dShape& shape) {
    ++(args.sums != nullptr ? forwards_with_sums : forwards_without);
    fp32_backend().conv2d.forward(args, shape);
  };
  return counting;
}

TEST_CASE_FIXTURE(FreshLibrary,
                  "library convolutions: both are measured with the sums that batch norm needs") {
  constexpr int64_t kBatch = 4;
  for (const bool linear : {false, true}) {
    CAPTURE(linear);
    Conv2dShape shape = small_shape();
    if (linear) shape = as_conv2d(LinearShape{8, 8});
    LoopLibrary& library = fresh_library();
    const Backend native = counting_backend();
    REQUIRE(native.conv2d.output_sums_bytes(shape, kBatch) > 0);
    Chooser chooser({{}, "a machine", [](const std::string&) {}});
    Choices backward;  // leaves the forward pass to be measured
    for (const ConvPass pass : {ConvPass::input_grad, ConvPass::weight_grad})
      backward[describe({Precision::fp32, pass, shape, kBatch})] = Choice::native;
    chooser.recall(backward);
    LibraryConvolutions conv(native, Precision::fp32, loop_library(), chooser);
    const size_t reads_before = cuda_on_host::launches_of("sum_columns");
    conv.workspace_bytes(shape, kBatch);
    const size_t reads = cuda_on_host::launches_of("sum_columns") - reads_before;
    REQUIRE(library.runs > 0);
    CHECK(reads == (linear ? 0 : static_cast<size_t>(library.runs)));
    CHECK((linear ? forwards_without : forwards_with_sums) == library.runs);
    CHECK((linear ? forwards_with_sums : forwards_without) == 0);
  }
}

TEST_CASE_FIXTURE(FreshLibrary, "library convolutions: without memory to measure in, ours") {
  LoopLibrary& library = fresh_library();
  const size_t before = cuda_on_host::live_allocations();
  Chooser chooser({{}, "a machine", [](const std::string&) {}});
  LibraryConvolutions conv(fp32_backend(), Precision::fp32, loop_library(), chooser);
  cuda_on_host::set_device_memory(1);
  conv.workspace_bytes(small_shape(), 4);
  cuda_on_host::set_device_memory(size_t{16} << 30);
  CHECK(library.runs == 0);
  for (const auto& [problem, choice] : chooser.made())
    CHECK(choice == Choice::native);
  CHECK(cuda_on_host::live_allocations() == before);
}

TEST_CASE_FIXTURE(FreshLibrary,
                  "convolutions of a library: channel sums are left by our kernels only") {
  const Conv2dShape shape = small_shape();
  const Backend& b = fp32_backend();
  constexpr int64_t kBatch = 3;
  fresh_library();
  LibraryConvolutions conv(b, Precision::fp32, loop_library(), all_to_library());
  CHECK(conv.output_sums_bytes(shape, kBatch) == 0);
  // A library that receives a request for sums reports that it left none, and batch norm then reads
  // its input.
  Array x(b, random_values(kBatch * shape.in.elements_per_image(), 1));
  Array y(b, random_values(kBatch * shape.out.elements_per_image(), 2));
  Array weight(b, random_values(shape.weight_count(), 3));
  DeviceScratch workspace(b, conv.workspace_bytes(shape, kBatch));
  ChannelSums sums = {nullptr, 7};
  conv.forward({.y = y.data(),
                .x = x.data(),
                .weight = weight.data(),
                .sums = &sums,
                .workspace = workspace.data(),
                .launch = make_launch(b, kBatch)},
               shape);
  CHECK(sums.chunks == 0);

  fresh_library().refuses = [](const LibraryProblem&) { return true; };
  LibraryConvolutions ours(b, Precision::fp32, loop_library(), all_to_library());
  CHECK(ours.output_sums_bytes(shape, kBatch) > 0);
  CHECK(ours.output_sums_bytes(shape, kBatch) == b.conv2d.output_sums_bytes(shape, kBatch));
}

}  // namespace

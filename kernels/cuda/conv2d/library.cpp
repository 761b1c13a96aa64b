#include "kernels/cuda/conv2d/library.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/cuda/conv2d/parts.h"
#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/device/timing.h"
#include "kernels/cuda/element.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr size_t kWorkspaceLimit = size_t{256} << 20;  // workspace limit of one plan
constexpr size_t kWorkspaceAlignment = 256;

size_t aligned(size_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
}

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      break;
  }
  return "bf16";
}

/// Runs a plan. With SCULPT_CUDA_SYNC=1, a fault within the library is reported here.
void run_plan(LibraryPlan& plan, void* out, const void* activation, const void* other,
              void* workspace, void* stream) {
  const DeviceGuard guard;
  plan.run(out, activation, other, workspace, stream);
  detail::check_launch("a convolution of cuDNN or cuBLAS", static_cast<cudaStream_t>(stream));
}

/// Bytes of the channel sums that batch norm uses from the forward pass before it. A linear layer
/// leaves no sums, because no batch norm follows it.
size_t sums_bytes(const Backend& native, const LibraryProblem& p) {
  const bool linear = p.shape.out.height * p.shape.out.width == 1;
  const auto bytes = native.conv2d.output_sums_bytes;
  return p.pass != ConvPass::forward || linear || bytes == nullptr ? 0 : bytes(p.shape, p.batch);
}

/// Memory of the device for a measurement, with numbers that slow nothing down.
class Scratch {
 public:
  Scratch(const Backend& backend, size_t bytes)
      : memory_(*backend.memory), data_(memory_.allocate(std::max<size_t>(bytes, 1))) {
    constexpr int kByte = 0x3c;  // all bytes equal: 0.01 in float and in bf16
    if (data_ != nullptr) set_bytes(data_, kByte, bytes, "filling a measurement's memory");
  }
  ~Scratch() { memory_.free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }

 private:
  const DeviceMemory& memory_;
  void* const data_;
};

}  // namespace

std::string describe(const LibraryProblem& p) {
  const Conv2dShape& s = p.shape;
  return fmt::format(
      "{} {}{} {}x{}x{} to {}x{}x{}, kernel {}x{}, stride {}, padding {}, groups {}, batch {}",
      name_of(p.precision), name_of(p.pass), p.accumulate ? " added" : "", s.in.channels,
      s.in.height, s.in.width, s.out.channels, s.out.height, s.out.width, s.kernel_h, s.kernel_w,
      s.stride, s.padding, s.groups, p.batch);
}

LibraryConvolutions::LibraryConvolutions(const Backend& native, Precision precision,
                                         const ConvLibrary& library, Chooser& chooser)
    : native_(native), precision_(precision), library_(library), chooser_(chooser) {}

LibraryConvolutions::ShapeKey LibraryConvolutions::key_of(const Conv2dShape& s) {
  return {s.in.channels, s.in.height, s.in.width, s.out.channels, s.out.height, s.out.width,
          s.kernel_h,    s.kernel_w,  s.stride,   s.padding,      s.groups};
}

LibraryProblem LibraryConvolutions::problem(const Conv2dShape& shape, int64_t batch, ConvPass pass,
                                            bool accumulate) const {
  return {precision_, pass, shape, batch, accumulate};
}

/// Bytes of the library's weight gradient, which lies at the start of the workspace.
size_t LibraryConvolutions::gradient_bytes(ConvPass pass, const Conv2dShape& shape) const {
  if (pass != ConvPass::weight_grad) return 0;
  return aligned(static_cast<size_t>(shape.weight_count()) * sizeof(float));
}

size_t LibraryConvolutions::total_bytes(const LibraryPlan& plan, ConvPass pass,
                                        const Conv2dShape& shape) const {
  return plan.workspace_bytes() + gradient_bytes(pass, shape);
}

LibraryPlan* LibraryConvolutions::make_plan(Layer& layer, const LibraryProblem& p) {
  const auto [place, is_new] = layer.plans.try_emplace({p.batch, p.pass, p.accumulate});
  if (!is_new) return place->second.get();
  const DeviceGuard guard;
  // A network of any larger batch may run this plan, so the plan must fit the smallest workspace of
  // such networks.
  const size_t gradient = gradient_bytes(p.pass, p.shape);
  size_t limit = kWorkspaceLimit + gradient;
  for (auto d = layer.decisions.lower_bound(p.batch); d != layer.decisions.end(); ++d)
    limit = std::min(limit, d->second.workspace_bytes);
  std::string why_not = "it would need more workspace than there is";
  if (gradient <= limit) place->second = library_.plan(p, limit - gradient, why_not);
  if (place->second == nullptr) chooser_.refuse(describe(p), why_not);
  return place->second.get();
}

Choice LibraryConvolutions::choose(Layer& layer, const Conv2dShape& shape, int64_t batch,
                                   ConvPass pass) {
  const LibraryProblem asked = problem(shape, batch, pass, false);
  LibraryPlan* const plan = make_plan(layer, asked);
  if (plan == nullptr) return Choice::native;
  return chooser_.choose(describe(asked), [&] { return measure(*plan, asked); });
}

/// Returns false if our kernel was chosen for exactly this batch. The plan is kept nevertheless,
/// because a graph that was captured before the choice may launch it.
bool LibraryConvolutions::may_run(const Layer& layer, int64_t batch, ConvPass pass) {
  const auto decision = layer.decisions.find(batch);
  return decision == layer.decisions.end() || decision->second.choices.at(pass) == Choice::library;
}

size_t LibraryConvolutions::workspace_bytes(const Conv2dShape& shape, int64_t max_batch) {
  Layer& layer = layers_[key_of(shape)];
  const auto decided = layer.decisions.find(max_batch);
  if (decided != layer.decisions.end()) return decided->second.workspace_bytes;

  Decision decision;
  for (const ConvPass pass : kConvPasses) {
    decision.choices[pass] = choose(layer, shape, max_batch, pass);
    if (pass == ConvPass::input_grad && decision.choices[pass] == Choice::library)
      make_plan(layer, problem(shape, max_batch, pass, true));
  }
  layer.decisions[max_batch] = decision;
  size_t& bytes = layer.decisions[max_batch].workspace_bytes;
  bytes = native_.conv2d.workspace_bytes(shape, max_batch);
  for (const auto& [key, plan] : layer.plans) {
    const auto [batch, pass, accumulate] = key;
    if (plan != nullptr && batch <= max_batch && may_run(layer, batch, pass))
      bytes = std::max(bytes, total_bytes(*plan, pass, shape));
  }
  return bytes;
}

LibraryPlan* LibraryConvolutions::chosen_plan(const Conv2dShape& shape, int64_t batch,
                                              ConvPass pass, bool accumulate) {
  Layer& layer = layers_[key_of(shape)];
  const auto decision = layer.decisions.lower_bound(batch);
  SCULPT_CHECK(decision != layer.decisions.end(),
               "a convolution of {} images whose workspace was not requested", batch);
  if (decision->second.choices.at(pass) == Choice::native) return nullptr;
  return make_plan(layer, problem(shape, batch, pass, accumulate));
}

size_t LibraryConvolutions::output_sums_bytes(const Conv2dShape& shape, int64_t max_batch) {
  workspace_bytes(shape, max_batch);  // makes the choice
  const Decision& decision = layers_[key_of(shape)].decisions.at(max_batch);
  if (decision.choices.at(ConvPass::forward) == Choice::library) return 0;
  return native_.conv2d.output_sums_bytes(shape, max_batch);
}

void LibraryConvolutions::forward(const ConvForward& args, const Conv2dShape& shape) {
  LibraryPlan* const plan = chosen_plan(shape, args.launch.batch, ConvPass::forward, false);
  if (plan == nullptr) return native_.conv2d.forward(args, shape);
  if (args.sums != nullptr) args.sums->chunks = 0;
  run_plan(*plan, args.y, args.x, args.weight, args.workspace, args.launch.stream);
  if (args.bias == nullptr) return;
  if (precision_ == Precision::bf16)
    add_bias<bf16>(args.y, args.bias, shape.out, args.launch);
  else
    add_bias<float>(args.y, args.bias, shape.out, args.launch);
}

void LibraryConvolutions::input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  LibraryPlan* const plan = chosen_plan(shape, args.launch.batch, ConvPass::input_grad,
                                        args.write == GradWrite::accumulate);
  if (plan == nullptr) return native_.conv2d.input_grad(args, shape);
  run_plan(*plan, args.dx, args.dy, args.weight, args.workspace, args.launch.stream);
}

void LibraryConvolutions::run_weight_grad(LibraryPlan& plan, const ConvWeightGrad& args,
                                          const Conv2dShape& shape) const {
  void* const gradient = args.workspace;
  void* const plan_workspace =
      static_cast<std::byte*>(args.workspace) + gradient_bytes(ConvPass::weight_grad, shape);
  run_plan(plan, gradient, args.dy, args.x, plan_workspace, args.launch.stream);
  if (precision_ == Precision::bf16 && !plan.float_weight_grad())
    write_weight_grad<bf16>(args.dweight, gradient, shape, args.write, args.launch.stream);
  else
    write_weight_grad<float>(args.dweight, gradient, shape, args.write, args.launch.stream);
}

void LibraryConvolutions::bias_grad(const ConvWeightGrad& args,
                                    const ActivationShape& dy_shape) const {
  if (precision_ == Precision::bf16)
    conv2d_bias_grad<bf16>(args, dy_shape);
  else
    conv2d_bias_grad<float>(args, dy_shape);
}

void LibraryConvolutions::weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape) {
  LibraryPlan* const plan = chosen_plan(shape, args.launch.batch, ConvPass::weight_grad, false);
  if (plan == nullptr) return native_.conv2d.weight_grad(args, shape);
  run_weight_grad(*plan, args, shape);
  // The kernels launched so far have consumed the library's weight gradient, so its memory is free
  // for the partial sums of the bias gradient.
  if (args.dbias != nullptr) bias_grad(args, shape.out);
}

std::optional<Timing> LibraryConvolutions::measure(LibraryPlan& plan,
                                                   const LibraryProblem& p) const {
  const Conv2dShape& shape = p.shape;
  const auto activation_bytes = [&](const ActivationShape& a) {
    return static_cast<size_t>(p.batch * a.elements_per_image()) * native_.activation_bytes;
  };
  const Scratch x(native_, activation_bytes(shape.in)), y(native_, activation_bytes(shape.out));
  const Scratch weight(native_, static_cast<size_t>(shape.weight_count()) * sizeof(float));
  const Scratch workspace(native_, std::max(native_.conv2d.workspace_bytes(shape, p.batch),
                                            total_bytes(plan, p.pass, shape)));
  const size_t bytes_of_sums = sums_bytes(native_, p);
  const Scratch sums(native_, bytes_of_sums);
  for (const Scratch* scratch : {&x, &y, &weight, &workspace, &sums})
    if (scratch->data() == nullptr) return std::nullopt;

  const bool with_sums = bytes_of_sums > 0;
  ChannelSums channel_sums = {static_cast<double*>(sums.data())};
  const Launch launch = {p.batch, native_.stream};
  const ConvForward forward = {.y = y.data(),
                               .x = x.data(),
                               .weight = weight.data(),
                               .sums = with_sums ? &channel_sums : nullptr,
                               .workspace = workspace.data(),
                               .launch = launch};
  const ConvInputGrad input_grad = {.dx = x.data(),
                                    .dy = y.data(),
                                    .weight = weight.data(),
                                    .workspace = workspace.data(),
                                    .launch = launch};
  const ConvWeightGrad weight_grad = {.dweight = weight.data(),
                                      .dy = y.data(),
                                      .x = x.data(),
                                      .workspace = workspace.data(),
                                      .launch = launch};
  const auto native = [&] {
    switch (p.pass) {
      case ConvPass::forward:
        return native_.conv2d.forward(forward, shape);
      case ConvPass::input_grad:
        return native_.conv2d.input_grad(input_grad, shape);
      case ConvPass::weight_grad:
        return native_.conv2d.weight_grad(weight_grad, shape);
    }
  };
  const auto library = [&] {
    switch (p.pass) {
      case ConvPass::forward:
        run_plan(plan, y.data(), x.data(), weight.data(), workspace.data(), launch.stream);
        // Without our sums, batch norm must read y to compute them. That takes as much work as the
        // bias gradient, which is timed in its place.
        if (with_sums)
          bias_grad({.dbias = sums.data(),
                     .dy = y.data(),
                     .workspace = workspace.data(),
                     .launch = launch},
                    shape.out);
        return;
      case ConvPass::input_grad:
        return run_plan(plan, x.data(), y.data(), weight.data(), workspace.data(), launch.stream);
      case ConvPass::weight_grad:
        return run_weight_grad(plan, weight_grad, shape);
    }
  };
  return Timing{median_microseconds(native, launch.stream),
                median_microseconds(library, launch.stream)};
}

namespace {

/// The tables of one precision, with choices that are measured or not. Kernel tables hold plain
/// functions without state, so each combination has a set of functions of its own and an object
/// that they share. The object is created at the first call and never destroyed, because at the end
/// of the process the library may be unloaded before its plans.
template <Precision precision, bool measures>
LibraryTables tables_of(const Backend& native, const ConvLibrary& library, Chooser& chooser) {
  static LibraryConvolutions& conv = *new LibraryConvolutions(native, precision, library, chooser);
  return {
      .conv2d = {.workspace_bytes =
                     [](const Conv2dShape& shape, int64_t max_batch) {
                       return conv.workspace_bytes(shape, max_batch);
                     },
                 .forward = [](const ConvForward& args,
                               const Conv2dShape& shape) { conv.forward(args, shape); },
                 .input_grad = [](const ConvInputGrad& args,
                                  const Conv2dShape& shape) { conv.input_grad(args, shape); },
                 .weight_grad = [](const ConvWeightGrad& args,
                                   const Conv2dShape& shape) { conv.weight_grad(args, shape); },
                 .output_sums_bytes =
                     [](const Conv2dShape& shape, int64_t max_batch) {
                       return conv.output_sums_bytes(shape, max_batch);
                     }},
      .linear = {
          .workspace_bytes =
              [](const LinearShape& shape, int64_t max_batch) {
                return conv.workspace_bytes(as_conv2d(shape), max_batch);
              },
          .forward = [](const ConvForward& args,
                        const LinearShape& shape) { conv.forward(args, as_conv2d(shape)); },
          .input_grad = [](const ConvInputGrad& args,
                           const LinearShape& shape) { conv.input_grad(args, as_conv2d(shape)); },
          .weight_grad =
              [](const ConvWeightGrad& args, const LinearShape& shape) {
                conv.weight_grad(args, as_conv2d(shape));
              }}};
}

template <bool measures>
LibraryTables tables_for(const Backend& native, Precision precision, const ConvLibrary& library,
                         Chooser& chooser) {
  switch (precision) {
    case Precision::fp32:
      return tables_of<Precision::fp32, measures>(native, library, chooser);
    case Precision::tf32:
      return tables_of<Precision::tf32, measures>(native, library, chooser);
    case Precision::bf16:
      break;
  }
  return tables_of<Precision::bf16, measures>(native, library, chooser);
}

}  // namespace

LibraryTables library_tables(const Backend& native, Precision precision, const ConvLibrary& library,
                             Chooser& chooser) {
  return chooser.measures() ? tables_for<true>(native, precision, library, chooser)
                            : tables_for<false>(native, precision, library, chooser);
}

}  // namespace sculpt::kernels::cuda

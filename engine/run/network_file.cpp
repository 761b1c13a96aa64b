#include "engine/run/network_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "engine/core/checksum.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/checkpoint.h"
#include "engine/sparse/allocation.h"

namespace sculpt {
namespace {

using safetensors::Dtype;
using safetensors::Tensor;

constexpr std::string_view kMask = ".mask";
constexpr std::string_view kTracked = ".num_batches_tracked";
constexpr std::string_view kOptimizer = "optimizer.";

bool is_float(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16;
}

float from_half(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1F;
  const uint32_t fraction = bits & 0x3FF;
  if (exponent == 0) {  // fraction * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 0x1F ? 0xFF : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

/// Converts the values of a float tensor to float.
std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.count()));
  if (tensor.dtype == Dtype::f32) {
    tensor.copy_to(std::as_writable_bytes(std::span(values)));
    return values;
  }
  std::vector<uint16_t> bits(values.size());
  tensor.copy_to(std::as_writable_bytes(std::span(bits)));
  std::ranges::transform(bits, values.begin(), [&](uint16_t b) {
    return tensor.dtype == Dtype::f16 ? from_half(b) : std::bit_cast<float>(uint32_t{b} << 16);
  });
  return values;
}

/// Throws Error if a newer version of Sculpt wrote the file. Files of other programs have formats
/// of their own, or none.
void require_no_newer_format(const safetensors::File& file) {
  const auto found = file.metadata().find("format");
  if (found == file.metadata().end()) return;
  for (const FileFormat& format : {kCheckpointFormat, kStateFormat})
    if (age_of(found->second, format) == FormatAge::newer)
      require_known(found->second, format, file.name());
}

/// A float tensor that the network has.
struct Wanted {
  std::string name;
  std::vector<int64_t> shape;
};

std::vector<Wanted> wanted_tensors(const ParameterArena& parameters) {
  std::vector<Wanted> list;
  for (const Parameter& p : parameters.parameters())
    list.push_back({p.name, p.shape});
  for (const StateArray& s : parameters.states())
    list.push_back({s.name, {s.count}});
  return list;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// Returns the first few faults as lines, and the number of further faults.
std::string fault_list(const std::vector<std::string>& faults) {
  constexpr size_t kShown = 4;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, faults.size()); ++i)
    text += "\n  " + faults[i];
  if (faults.size() > kShown) text += fmt::format("\n  and {} more", faults.size() - kShown);
  return text;
}

std::string removed_suffix(const std::string& name, std::string_view suffix) {
  return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : "";
}

}  // namespace

NetworkFile NetworkFile::read(const std::filesystem::path& path, NetworkParts parts,
                              const std::string& wanted_by) try {
  std::vector<std::byte> content = read_file(path);
  Checksum checksum;
  checksum.add(content);
  safetensors::File file =
      safetensors::File::parse(path.string(), std::move(content), /*require_checksum=*/false);
  require_no_newer_format(file);
  return {std::move(file), parts, checksum.digits(), wanted_by};
} catch (const Error& error) {
  fail("{}: {}", wanted_by, error.what());
}

void NetworkFile::require_tensors(const ParameterArena& parameters) const {
  std::vector<std::string> faults;
  std::map<std::string, const Wanted*, std::less<>> known;
  const std::vector<Wanted> wanted = wanted_tensors(parameters);
  for (const Wanted& w : wanted)
    known[w.name] = &w;
  for (const Wanted& w : wanted)
    if (takes_weights() && !file_.has(w.name))
      faults.push_back(fmt::format("{} {} is not in the file", w.name, shape_text(w.shape)));
  for (const Tensor& t : file_.tensors()) {
    const auto found = known.find(t.name);
    if (found == known.end()) {
      const std::string masked = removed_suffix(t.name, kMask);
      const std::string norm = removed_suffix(t.name, kTracked);
      const bool belongs = t.name.starts_with(kOptimizer) || known.contains(masked) ||
                           known.contains(norm + ".running_mean");
      const auto of_mask = known.find(masked);
      if (takes_masks() && of_mask != known.end() && t.shape != of_mask->second->shape)
        faults.push_back(fmt::format("{} is {} in the file and {} in the network", t.name,
                                     shape_text(t.shape), shape_text(of_mask->second->shape)));
      if (!belongs)
        faults.push_back(fmt::format("{} {} is not in the network", t.name, shape_text(t.shape)));
      continue;
    }
    if (!takes_weights()) continue;
    if (t.shape != found->second->shape)
      faults.push_back(fmt::format("{} is {} in the file and {} in the network", t.name,
                                   shape_text(t.shape), shape_text(found->second->shape)));
    else if (!is_float(t.dtype))
      faults.push_back(fmt::format("{} is not of the type F32, F16 or BF16", t.name));
    else if (!std::ranges::all_of(floats_of(t), [](float v) { return std::isfinite(v); }))
      faults.push_back(fmt::format("{} has values that are infinite or not a number", t.name));
  }
  if (!faults.empty())
    fail(
        "{}: {} does not fit the network of this config:{}\n"
        "the names and shapes must be those of model.name, model.width and the data set's classes",
        wanted_by_, file_.name(), fault_list(faults));
}

const Tensor& NetworkFile::mask_of(const Parameter& parameter) const {
  const std::string name = parameter.name + std::string(kMask);
  const bool is_bool = file_.get(name).dtype == Dtype::boolean;
  return file_.get(name, is_bool ? Dtype::boolean : Dtype::u8, parameter.shape);
}

void NetworkFile::require_masks(const ParameterArena& parameters) const {
  const bool starts = wanted_by_ == kInitFrom;
  bool any = false;
  for (const Parameter& p : parameters.parameters()) {
    const std::string name = p.name + std::string(kMask);
    if (!file_.has(name)) continue;
    any = true;
    const Tensor& mask = mask_of(p);
    const auto has = [&](auto&& test) { return std::ranges::any_of(mask.data, test); };
    if (has([](std::byte b) { return b > std::byte{1}; }))
      fail("{}: {}: {} has values that are neither 0 nor 1", wanted_by_, file_.name(), name);
    if (!p.prunable && has([](std::byte b) { return b == std::byte{0}; }))
      fail(
          "{}: {} masks weights of {}, which this config exempts from pruning; set "
          "prune.exempt, prune.first_conv and prune.classifier as they were{}",
          wanted_by_, file_.name(), p.name, starts ? ", or model.init_parts = \"weights\"" : "");
  }
  if (!any && parts_ == NetworkParts::masks)
    fail("{}: {} has no masks; {}", wanted_by_, file_.name(),
         starts
             ? "set model.init_parts = \"weights\""
             : "give a file with tensors of the name <parameter>.mask, as final.safetensors of a "
               "run folder has them");
}

void NetworkFile::require_fit(const ParameterArena& parameters) const {
  require_tensors(parameters);
  if (takes_masks()) require_masks(parameters);
}

StoredNetwork NetworkFile::stored(const ParameterArena& parameters) const {
  StoredNetwork stored;
  if (takes_masks()) {
    stored.masks.assign(static_cast<size_t>(parameters.count()), 1);
    for (const Parameter& p : parameters.parameters())
      if (file_.has(p.name + std::string(kMask)))
        mask_of(p).copy_to(
            std::as_writable_bytes(ParameterArena::slice(std::span(stored.masks), p)));
  }
  if (!takes_weights()) return stored;
  for (const Parameter& p : parameters.parameters()) {
    const std::vector<float> values = floats_of(file_.get(p.name));
    stored.weights.insert(stored.weights.end(), values.begin(), values.end());
  }
  for (const StateArray& s : parameters.states()) {
    const std::vector<float> values = floats_of(file_.get(s.name));
    stored.states.insert(stored.states.end(), values.begin(), values.end());
  }
  for (const Tensor& t : file_.tensors())
    if (t.name.ends_with(kTracked) && t.dtype == Dtype::i64 && t.shape.empty())
      t.copy_to(std::as_writable_bytes(std::span(&stored.batches_tracked, 1)));
  return stored;
}

void NetworkFile::load_into(ParameterArena& parameters) const {
  require_fit(parameters);
  parameters.store_dense();
  StoredNetwork values = stored(parameters);
  if (takes_masks())
    parameters.edit_masks(
        [&](std::span<uint8_t> masks) { std::ranges::copy(values.masks, masks.begin()); });
  if (takes_weights()) {
    std::ranges::copy(values.weights, parameters.edit_weights<float>().begin());
    std::ranges::copy(values.states, parameters.edit_state_values<float>().begin());
    parameters.batches_tracked = values.batches_tracked;
  }
  parameters.zero_masked();
}

void require_density_left(const Plan& plan, const ParameterArena& parameters) {
  const int64_t prunable = parameters.prunable_count();
  const int64_t kept = parameters.kept_count();
  for (size_t i = 0; i < plan.size(); ++i) {
    if (may_keep_more(plan[i])) return;  // plan_cost() checks what follows
    const auto* prune = std::get_if<PruneStep>(&plan[i]);
    if (prune == nullptr) continue;
    const double left = static_cast<double>(kept) / static_cast<double>(prunable);
    if (kept_for_density(prune->density, prunable) > kept)
      fail(
          "step {} of the plan, \"{}\": the masks of model.init_from keep {:.6g} of the weights, "
          "and masked weights do not come back; prune to a density below {:.6g}, or set "
          "model.init_parts = \"weights\"",
          i + 1, describe(plan[i]), left, left);
    return;  // later prunes ask for lower densities
  }
}

}  // namespace sculpt

#include "engine/nn/network.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/name_pattern.h"
#include "engine/core/nearest_name.h"
#include "engine/core/random.h"
#include "engine/ops/loss.h"
#include "engine/ops/ops.h"
#include "engine/ops/weighted_node.h"

namespace sculpt {

namespace {

constexpr std::string_view kWeight = ".weight";

/// Returns "fc" for "fc.weight".
std::string_view layer_of(std::string_view weight) {
  if (weight.ends_with(kWeight)) weight.remove_suffix(kWeight.size());
  return weight;
}

/// Exempts the layers whose name, or whose weight's name, fits the pattern. Throws Error if there
/// is none.
void exempt_by_name(ParameterArena& arena, const std::string& pattern) {
  std::vector<std::string> names;
  bool any = false;
  const auto parameters = arena.parameters();
  for (size_t id = 0; id < parameters.size(); ++id) {
    const Parameter& p = parameters[id];
    if (p.kind != ParameterKind::conv_weight && p.kind != ParameterKind::linear_weight) continue;
    const std::string layer(layer_of(p.name));
    if (fits_pattern(layer, pattern) || fits_pattern(p.name, pattern)) {
      any = true;
      arena.set_prunable(static_cast<ParameterId>(id), false);
    }
    names.push_back(layer);
  }
  if (any) return;
  const bool is_part = std::ranges::any_of(
      names, [&](const std::string& name) { return name.starts_with(pattern + "."); });
  fail(
      "prune.exempt: no layer with weights to prune is called '{}'{}; sculpt_run --describe lists "
      "the layers",
      pattern,
      is_part ? fmt::format("; write \"{}.*\" for all layers in it", pattern)
              : did_you_mean(layer_of(pattern), names));
}

// Exempts the layers that the spec excludes from pruning. The first convolution and the last linear
// layer are found by position, so that their names do not matter.
void exempt(ParameterArena& arena, const NetworkSpec& spec) {
  ParameterId first_conv = -1, last_linear = -1;
  const auto parameters = arena.parameters();
  for (size_t id = 0; id < parameters.size(); ++id) {
    if (parameters[id].kind == ParameterKind::conv_weight && first_conv < 0)
      first_conv = static_cast<ParameterId>(id);
    if (parameters[id].kind == ParameterKind::linear_weight)
      last_linear = static_cast<ParameterId>(id);
  }
  if (!spec.prune_first_conv && first_conv >= 0) arena.set_prunable(first_conv, false);
  if (!spec.prune_classifier && last_linear >= 0) arena.set_prunable(last_linear, false);
  for (const std::string& pattern : spec.exempt)
    exempt_by_name(arena, pattern);
}

float draw(const RandomStream& stream, const Initialisation& init, uint64_t index) {
  switch (init.kind) {
    case Initialisation::Kind::constant:
      return init.value;
    case Initialisation::Kind::normal:
      return init.value * stream.normal(index);
    case Initialisation::Kind::uniform:
      return init.value * (2 * stream.uniform(index) - 1);
  }
  fail("unknown initialisation {}", static_cast<int>(init.kind));
}

template <class T>
void fill(ParameterArena& arena, const std::vector<float>& weights) {
  std::ranges::copy(weights, arena.edit_weights<T>().begin());
  arena.zero_optimizer_arrays();
  for (const auto& s : arena.states())
    std::fill_n(arena.edit_state_values<T>().begin() + s.offset, s.count,
                static_cast<T>(s.initial));
}

template <class To, class From>
void copy_values(ParameterArena& to, const ParameterArena& from) {
  std::ranges::copy(from.weights<From>(), to.edit_weights<To>().begin());
  for (OptimizerArrayId id = 0; id < from.optimizer_array_count(); ++id) {
    const OptimizerArrayId copy = to.add_optimizer_array(from.optimizer_array_name(id));
    std::ranges::copy(from.optimizer_values<From>(id), to.edit_optimizer_values<To>(copy).begin());
  }
  std::ranges::copy(from.state_values<From>(), to.edit_state_values<To>().begin());
}

void copy_parameters(ParameterArena& to, ParameterArena& from) {
  to.set_pattern(from.pattern());
  from.store_dense();
  const bool to_double = to.element_bytes() == sizeof(double);
  const bool from_double = from.element_bytes() == sizeof(double);
  if (to_double)
    from_double ? copy_values<double, double>(to, from) : copy_values<double, float>(to, from);
  else
    from_double ? copy_values<float, double>(to, from) : copy_values<float, float>(to, from);
  to.batches_tracked = from.batches_tracked;
}

}  // namespace

Network::Network(NetworkSpec spec, const kernels::Backend& backend, int64_t max_batch,
                 Execution execution)
    : spec_(std::move(spec)),
      execution_(std::move(execution)),
      max_batch_(max_batch),
      rank_sums_(*execution_.ranks, backend),
      accumulator_(parameters_),
      reducer_(parameters_, rank_sums_, execution_.gradients) {
  if (max_batch < 1) fail("batch size {} is not positive", max_batch);
  const int64_t most_images = largest_share(max_batch, execution_.ranks->size());
  graph_ = std::make_unique<Graph>(backend, parameters_, most_images);
  images_ = graph_->input(spec_.image.channels, spec_.image.height, spec_.image.width);
  Builder builder(*graph_, initialisations_, execution_.layers);
  logits_ = spec_.model(builder, images_);
  const auto& out = graph_->shape(logits_);
  if (out.channels != spec_.classes)
    fail("the model ends with {} outputs but the data have {} classes", out.channels,
         spec_.classes);
  loss_ = ops::softmax_cross_entropy(*graph_, logits_, spec_.label_smoothing);
  exempt(parameters_, spec_);
  parameters_.allocate(backend);
  for (Staging* staging : {&pixels_, &values_, &mean_, &std_})
    *staging = Staging("a batch", backend.memory);
  if (backend.memory)
    labels_ = Buffer(static_cast<size_t>(most_images) * sizeof(int32_t), "labels", backend.memory);
  graph_->finish();
  graph_->settings().sync_batch_norm = execution_.sync_batch_norm;
  graph_->observe_gradients([this](ParameterId id) {
    accumulator_.gradient_is_final(id);
    reducer_.gradient_is_final(id);
  });
}

std::unique_ptr<Network> Network::rebuild(const kernels::Backend& backend, int64_t max_batch) {
  return rebuild(backend, max_batch, execution_);
}

std::unique_ptr<Network> Network::rebuild(const kernels::Backend& backend, int64_t max_batch,
                                          const Execution& execution) {
  auto network = std::make_unique<Network>(spec_, backend, max_batch, execution);
  copy_parameters(network->parameters_, parameters_);
  return network;
}

std::map<std::string, kernels::PassKernels> Network::pass_kernels() const {
  std::map<std::string, kernels::PassKernels> kernels;
  for (const auto& node : graph_->nodes())
    if (const ops::WeightedNode* layer = ops::weighted_node(*node))
      if (const auto of_layer = layer->pass_kernels())
        kernels[parameters_[layer->info.weight].name] = *of_layer;
  return kernels;
}

bool Network::skips_masked() const {
  return std::ranges::any_of(graph_->nodes(), [](const auto& node) {
    const ops::WeightedNode* layer = ops::weighted_node(*node);
    return layer != nullptr &&
           layer->pass_kernels().value_or(kernels::PassKernels{}) != kernels::PassKernels{};
  });
}

void Network::initialise(uint64_t seed) {
  graph_->settings().seed = seed;
  parameters_.edit_masks([](std::span<uint8_t> masks) { std::ranges::fill(masks, uint8_t{1}); });
  parameters_.store_dense();
  if (parameters_.element_bytes() == sizeof(double))
    fill<double>(parameters_, initial_weights(seed));
  else
    fill<float>(parameters_, initial_weights(seed));
  parameters_.batches_tracked = 0;
}

std::vector<float> Network::initial_weights(uint64_t seed) const {
  std::vector<float> weights(static_cast<size_t>(parameters_.count()));
  const auto parameters = parameters_.parameters();
  for (size_t id = 0; id < parameters.size(); ++id) {
    const RandomStream stream(seed, Purpose::initialisation, id);
    const auto part = ParameterArena::slice(std::span(weights), parameters[id]);
    for (size_t i = 0; i < part.size(); ++i)
      part[i] = draw(stream, initialisations_[id], i);
  }
  return weights;
}

void Network::load(const Batch& batch, const Normalization& normalization, const StepPart& part) {
  start_pass(batch.whole_count(), part);
  const Share own = {pass_.first_image, pass_.images};
  // The position of the images in the arrays of the batch.
  const int64_t skipped =
      batch.whole == 0
          ? own.first
          : images_before(batch.whole, part, execution_.ranks->rank(), execution_.ranks->size());
  SCULPT_CHECK(skipped + own.count <= batch.count, "a batch lacks images of part {} of {}",
               part.index, part.count);
  const int32_t* const labels = batch.labels + skipped;
  host_labels_.assign(labels, labels + own.count);
  for (const int32_t label : host_labels_)
    if (label < 0 || label >= spec_.classes)
      fail("label {} is outside of the {} classes", label, spec_.classes);
  loss_->set_labels(send_labels());
  if (own.count == 0) return;
  const int64_t image = spec_.image.count();
  const std::span pixels(batch.images + skipped * image, static_cast<size_t>(own.count * image));
  graph_->backend().input.load_u8(graph_->replay().data(images_), pixels_.send(pixels),
                                  mean_.send(std::span(normalization.mean)),
                                  std_.send(std::span(normalization.std)), graph_->shape(images_),
                                  launch());
}

// Returns the labels in the backend's memory. The address is always the same, because recorded
// steps contain it.
const int32_t* Network::send_labels() {
  const kernels::DeviceMemory* memory = graph_->backend().memory;
  if (!memory) return host_labels_.data();
  memory->copy_in(labels_.data(), host_labels_.data(), host_labels_.size() * sizeof(int32_t));
  return labels_.as<int32_t>();
}

void Network::load_resident(const kernels::ResidentSet& set, const kernels::ResidentBatch* at,
                            int64_t batch, const StepPart& part) {
  start_pass(batch, part);
  loss_->set_labels(labels_.as<int32_t>());
  if (pass_.images == 0) return;
  graph_->backend().input.load_resident(graph_->replay().data(images_), labels_.as<int32_t>(), set,
                                        at, graph_->shape(images_), launch());
}

Share Network::share_of_part(int64_t images, const StepPart& part) const {
  return sculpt::share_of_part(images, part, execution_.ranks->rank(), execution_.ranks->size());
}

/// Begins a pass over this rank's share of a part of a batch.
void Network::start_pass(int64_t images, const StepPart& part) {
  SCULPT_CHECK(images > 0 && largest_share(images, part.count) <= max_batch_,
               "a batch of {} in {} parts in a network for {}", images, part.count, max_batch_);
  const Share own = share_of_part(images, part);
  part_ = part;
  pass_ = {.images = own.count, .first_image = own.first, .images_of_step = images};
  if (execution_.ranks->size() == 1) return;
  shared_ = rank_sums_.batch_of(share_of(images, part.index, part.count).count);
  pass_.shared = &shared_;
}

void Network::load_values(const float* images, int64_t batch) {
  SCULPT_CHECK(batch > 0 && batch <= graph_->max_batch(), "batch of {} in a network for {}", batch,
               graph_->max_batch());
  pass_ = {.images = batch};
  part_ = {};
  loss_->set_labels(nullptr);
  const auto count = static_cast<size_t>(batch * spec_.image.count());
  graph_->backend().input.load_f32(graph_->replay().data(images_),
                                   values_.send(std::span(images, count)), graph_->shape(images_),
                                   launch());
}

kernels::LossSums Network::forward(Mode mode, uint64_t step) {
  set_loss_sums({});
  if (mode == Mode::train) begin_step(step);
  forward_adding(mode);
  return loss_sums();
}

kernels::LossSums Network::loss_sums() const {
  return add_up(loss_->sums());
}

kernels::LossSums Network::add_up(kernels::LossSums sums) const {
  double values[] = {sums.loss, static_cast<double>(sums.correct)};  // a count is exact
  execution_.ranks->all_reduce_sum(std::span<double>(values));
  return {values[0], static_cast<int64_t>(values[1])};
}

void Network::set_loss_sums(const kernels::LossSums& sums) {
  // The sums of all ranks add up to `sums`.
  loss_->set_sums(execution_.ranks->is_root() ? sums : kernels::LossSums{});
}

void Network::average_statistics() {
  const auto average = [&](auto values) {
    execution_.ranks->all_reduce_sum(values);
    for (auto& value : values)
      value /= static_cast<std::remove_reference_t<decltype(value)>>(execution_.ranks->size());
  };
  if (parameters_.element_bytes() == sizeof(double))
    average(parameters_.edit_state_values<double>());
  else
    average(parameters_.edit_state_values<float>());
}

Readback<kernels::LossSums> Network::read_loss_sums() {
  return loss_->read_sums();
}

void Network::begin_step(uint64_t step) {
  graph_->set_step(step);
  ++parameters_.batches_tracked;
  parameters_.hand_to_device();
  loss_->hand_to_device();
}

void Network::forward_adding(Mode mode) {
  SCULPT_CHECK(pass_.images > 0 || pass_.shared != nullptr, "load a batch before forward()");
  graph_->forward(mode, pass_);
}

void Network::backward() {
  // The gradients of a step are added up over the ranks in its last part.
  const bool exchanges = pass_.shared != nullptr && part_.is_last();
  accumulator_.begin(part_);  // it requests full gradients again, which the reducer asks for
  if (exchanges) reducer_.begin();
  graph_->backward();
  accumulator_.finish();
  if (exchanges) reducer_.finish();
}

void Network::backward_from_logit_sum(float scale) {
  const std::vector<float> seed(static_cast<size_t>(pass_.images * spec_.classes), scale);
  graph_->backend().input.load_f32(graph_->replay().grad(logits_), values_.send(std::span(seed)),
                                   graph_->shape(logits_), launch());
  graph_->backward_from(logits_);
}

std::vector<float> Network::logits() {
  std::vector<float> values(static_cast<size_t>(pass_.images * spec_.classes));
  values_.receive(std::span(values), [&](float* to) {
    graph_->backend().input.store_f32(to, graph_->replay().data(logits_), graph_->shape(logits_),
                                      launch());
  });
  return values;
}

}  // namespace sculpt

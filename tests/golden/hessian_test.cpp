// Products with the Hessian, and GraSP's ranking, against double backward in PyTorch. The file
// comes from tools/make_golden_hessian.py, which describes it.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <doctest/doctest.h>
#include <numeric>
#include <sstream>
#include <vector>

#include "engine/core/error.h"
#include "engine/formats/safetensors.h"
#include "engine/nn/hessian_product.h"
#include "engine/sparse/criteria.h"
#include "models/registry.h"
#include "tests/support/comparison.h"

namespace sculpt {
namespace {

using safetensors::Dtype;
using testing::relative_error;

constexpr int64_t kClasses = 10;
constexpr uint64_t kDirection = 999;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);)
    parts.push_back(part);
  return parts;
}

/// Element `index` of a stream, as in the script.
double uniform(uint64_t stream, uint64_t index) {
  uint64_t x = (index + (stream << 32)) * 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  x = x ^ (x >> 31);
  return static_cast<double>(x >> 40) / (1 << 23) - 1;
}

/// SCULPT_GOLDEN_HESSIAN names another file, e.g. one of networks at their full widths (the bound
/// of relative errors is for the widths of the usual file).
std::string golden_file() {
  const char* named = std::getenv("SCULPT_GOLDEN_HESSIAN");
  return named != nullptr ? named : "tests/golden/hessian_products.safetensors";
}

struct Golden {
  safetensors::File file = safetensors::File::read(golden_file(), false);
  int64_t count = file.get("labels").count();
  std::vector<uint8_t> images = tensor<uint8_t>("images", Dtype::u8, {count, 3, 32, 32});
  std::vector<uint8_t> labels8 = tensor<uint8_t>("labels", Dtype::u8, {count});
  std::vector<int32_t> labels{labels8.begin(), labels8.end()};
  Normalization normalization{tensor<float>("mean", Dtype::f32, {3}),
                              tensor<float>("std", Dtype::f32, {3})};

  template <class T>
  std::vector<T> tensor(const std::string& name, Dtype dtype,
                        const std::vector<int64_t>& shape) const {
    const auto& found = file.get(name, dtype, shape);
    std::vector<T> values(static_cast<size_t>(found.count()));
    found.copy_to(std::as_writable_bytes(std::span(values)));
    return values;
  }
};

/// One of the file's networks, with the weights that the script gave it.
class GoldenNetwork {
 public:
  GoldenNetwork(const Golden& golden, size_t n, const kernels::Backend& backend)
      : golden_(golden), n_(n) {
    const auto words = split(split(golden.file.metadata("networks"), ',').at(n), ' ');
    name_ = words.at(0);
    models::ModelOptions options;
    options.name = name_;
    options.width = std::stod(words.at(1));
    NetworkSpec spec;
    spec.model = models::make_model(options, kClasses);
    network_ = std::make_unique<Network>(spec, backend, golden.count);
    network_->initialise(1);
    fill_weights();
  }

  const std::string& name() const { return name_; }
  Network& network() { return *network_; }
  const ParameterArena& arena() const { return network_->parameters(); }

  /// The mean loss of the file's images.
  ScoreContext context() {
    ScoreContext context{.network = *network_, .seed = 1, .options = {}};
    context.score_batch = [this](int64_t) {
      return Batch{golden_.images.data(), golden_.labels.data(), golden_.count};
    };
    context.normalization = golden_.normalization;
    return context;
  }

  /// Over the prunable weights in Sculpt's order: the numbers of the file.
  std::vector<double> expected(const std::string& product) const {
    std::vector<double> all;
    for (const Parameter& p : arena().parameters()) {
      if (!p.prunable) continue;
      const auto values =
          golden_.tensor<float>(name_ + "." + product + "." + p.name, Dtype::f32, p.shape);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  std::vector<double> weights() {
    std::vector<double> all;
    for (const Parameter& p : arena().parameters())
      if (p.prunable)
        for (const float w : ParameterArena::slice(network_->parameters().weights(), p))
          all.push_back(double{w});
    return all;
  }

  /// The file's random direction: PyTorch's order of the weights put into Sculpt's.
  std::vector<double> direction() const {
    std::map<std::string, std::vector<double>> parts;
    uint64_t index = 0;
    for (const std::string& name : parameter_names()) {
      const Parameter& p = parameter(name);
      if (!p.prunable) continue;
      for (int64_t i = 0; i < p.count; ++i)
        parts[name].push_back(uniform(1000 * n_ + kDirection, index++));
    }
    std::vector<double> all;
    for (const Parameter& p : arena().parameters())
      if (p.prunable) all.insert(all.end(), parts[p.name].begin(), parts[p.name].end());
    return all;
  }

 private:
  std::vector<std::string> parameter_names() const {
    return split(golden_.file.metadata("parameters." + name_), ',');
  }

  const Parameter& parameter(const std::string& name) const {
    const auto all = arena().parameters();
    const auto found = std::ranges::find(all, name, &Parameter::name);
    if (found == all.end()) fail("{} has no parameter '{}'", name_, name);
    return *found;
  }

  static double bound(const Parameter& p, const Parameter& weight) {
    if (p.shape.size() == 4)
      return std::sqrt(6.0 / static_cast<double>(p.shape[0] * p.shape[2] * p.shape[3]));
    return 1 / std::sqrt(static_cast<double>(weight.count / weight.shape[0]));
  }

  void fill_weights() {
    const auto names = parameter_names();
    REQUIRE(names.size() == arena().parameters().size());
    for (size_t t = 0; t < names.size(); ++t) {
      const Parameter& p = parameter(names[t]);
      // Batch norm has been initialised.
      if (p.kind == ParameterKind::norm_weight || p.kind == ParameterKind::norm_bias) continue;
      const Parameter& weight = parameter(p.name.substr(0, p.name.rfind('.')) + ".weight");
      const auto values = ParameterArena::slice(network_->parameters().edit_weights(), p);
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(uniform(1000 * n_ + t, i) * bound(p, weight));
    }
  }

  const Golden& golden_;
  size_t n_;
  std::string name_;
  std::unique_ptr<Network> network_;
};

std::vector<size_t> best_tenth(const std::vector<double>& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return scores[i]; });
  order.resize(scores.size() / 10);
  std::ranges::sort(order);
  return order;
}

double overlap(const std::vector<double>& a, const std::vector<double>& b) {
  const auto best_a = best_tenth(a), best_b = best_tenth(b);
  std::vector<size_t> both;
  std::ranges::set_intersection(best_a, best_b, std::back_inserter(both));
  return static_cast<double>(both.size()) / static_cast<double>(best_a.size());
}

std::vector<double> values_of(const Buffer& buffer) {
  const std::span values(buffer.as<double>(), buffer.bytes() / sizeof(double));
  return {values.begin(), values.end()};
}

constexpr size_t kNetworks = 5;

TEST_CASE("golden: grasp ranks weights as double backward in PyTorch does") {
  const Golden golden;
  for (const kernels::Backend* backend : kernels::available_cpu_backends()) {
    for (size_t n = 0; n < kNetworks; ++n) {
      GoldenNetwork of(golden, n, *backend);
      auto expected = of.expected("hessian_gradient");
      const auto weights = of.weights();
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i] *= weights[i];
      KeptWeights kept(of.network().parameters());
      const ScoreResult result =
          find_criterion("grasp").score(of.context(), {"grasp", "global", 0.1}, kept);
      const auto actual = values_of(result.scores.values);
      const double same = overlap(actual, expected), error = relative_error(actual, expected);
      CAPTURE(backend->name);
      CAPTURE(of.name());
      CHECK(same >= 0.99);
      CHECK(error < 0.01);
    }
  }
}

TEST_CASE("golden: a random vector times the Hessian agrees with double backward in PyTorch") {
  const Golden golden;
  for (const kernels::Backend* backend : kernels::available_cpu_backends()) {
    for (size_t n = 0; n < kNetworks; ++n) {
      GoldenNetwork of(golden, n, *backend);
      const auto v = of.direction();
      Buffer direction = zeroed_scores(of.arena());
      std::ranges::copy(v, direction.as<double>());
      const ScoreContext context = of.context();
      const Buffer product = hessian_product(mean_loss(context, of.network()), direction);
      const double error = relative_error(values_of(product), of.expected("hessian_random"));
      CAPTURE(backend->name);
      CAPTURE(of.name());
      CHECK(error < 0.01);
    }
  }
}

}  // namespace
}  // namespace sculpt

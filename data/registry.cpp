#include "data/registry.h"

#include "data/cifar.h"
#include "data/mnist.h"
#include "data/synthetic.h"
#include "engine/core/error.h"

namespace sculpt::data {

const std::vector<DatasetEntry>& dataset_table() {
  static const std::vector<DatasetEntry> table = {
      {"synthetic", "built-in textured shapes, 10 classes, 32x32 colour",
       [](const DataOptions& o) {
         return load_synthetic(o.synthetic_train, o.synthetic_test,
                               static_cast<uint64_t>(o.synthetic_seed));
       }},
      {"cifar10", "CIFAR-10, binary version",
       [](const DataOptions& o) { return load_cifar10(o.root); }},
      {"cifar100", "CIFAR-100, binary version, fine labels",
       [](const DataOptions& o) { return load_cifar100(o.root); }},
      {"mnist", "MNIST, IDX files", [](const DataOptions& o) { return load_mnist(o.root); }},
      {"fashion_mnist", "Fashion-MNIST, IDX files",
       [](const DataOptions& o) { return load_fashion_mnist(o.root); }},
  };
  return table;
}

std::vector<std::string> dataset_names() {
  std::vector<std::string> names;
  for (const DatasetEntry& entry : dataset_table())
    names.emplace_back(entry.name);
  return names;
}

TrainTest load_dataset(const DataOptions& options) {
  for (const DatasetEntry& entry : dataset_table()) {
    if (options.name == entry.name) return entry.load(options);
  }
  std::string known;
  for (const std::string& name : dataset_names())
    known += (known.empty() ? "" : ", ") + name;
  fail("unknown data set '{}' (data.name); there are: {}", options.name, known);
}

}  // namespace sculpt::data

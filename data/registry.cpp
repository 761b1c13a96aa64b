#include "data/registry.h"

#include "data/sets/cifar.h"
#include "data/sets/mnist.h"
#include "data/sets/synthetic.h"
#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/core/registry.h"

namespace sculpt::data {

const std::vector<DatasetEntry>& dataset_table() {
  static const std::vector<DatasetEntry> table = {
      {"synthetic",
       "built-in textured shapes, 10 classes, 32x32 colour",
       {3, 32, 32},
       10,
       0,
       0,
       [](const DataOptions& o) {
         return load_synthetic(o.synthetic_train, o.synthetic_test,
                               static_cast<uint64_t>(o.synthetic_seed));
       },
       "data.synthetic_train data.synthetic_test data.synthetic_seed data.flip",
       [](const DataOptions& o) {
         return synthetic_train_labels(o.synthetic_train, static_cast<uint64_t>(o.synthetic_seed));
       }},
      {"cifar10",
       "CIFAR-10, binary version or as pickled for Python",
       {3, 32, 32},
       10,
       50000,
       10000,
       [](const DataOptions& o) { return load_cifar10(o.root); },
       "data.root data.flip"},
      {"cifar100",
       "CIFAR-100, binary version or as pickled for Python, fine labels",
       {3, 32, 32},
       100,
       50000,
       10000,
       [](const DataOptions& o) { return load_cifar100(o.root); },
       "data.root data.flip"},
      {"mnist",
       "MNIST, IDX files",
       {1, 28, 28},
       10,
       60000,
       10000,
       [](const DataOptions& o) { return load_mnist(o.root); },
       "data.root"},
      {"fashion_mnist",
       "Fashion-MNIST, IDX files",
       {1, 28, 28},
       10,
       60000,
       10000,
       [](const DataOptions& o) { return load_fashion_mnist(o.root); },
       "data.root data.flip"},
  };
  return table;
}

std::vector<std::string> dataset_names() {
  return names_of(dataset_table());
}

namespace {

const DatasetEntry& find_entry(const std::string& name) {
  return find_row(dataset_table(), name, "data set");
}

Dataset blank(const DatasetEntry& entry, int64_t size) {
  Dataset set;
  set.name = entry.name;
  set.shape = entry.shape;
  set.classes = entry.classes;
  set.class_names.resize(static_cast<size_t>(entry.classes));
  const auto channels = static_cast<size_t>(entry.shape.channels);
  set.normalization = {std::vector<float>(channels, 0.5f), std::vector<float>(channels, 0.25f)};
  set.images.resize(static_cast<size_t>(size * entry.shape.count()));
  // The images differ, so that steps on them take as long as on real images.
  for (size_t i = 0; i < set.images.size(); ++i)
    set.images[i] = static_cast<uint8_t>(i * 167 >> 4);
  set.labels.resize(static_cast<size_t>(size));
  return set;
}

}  // namespace

TrainTest load_dataset(const DataOptions& options) {
  const Phase phase("loading " + options.name);
  return find_entry(options.name).load(options);
}

TrainTest blank_dataset(const DataOptions& options) {
  const DatasetEntry& entry = find_entry(options.name);
  TrainTest sets = {blank(entry, entry.train_size > 0 ? entry.train_size : options.synthetic_train),
                    blank(entry, entry.test_size > 0 ? entry.test_size : options.synthetic_test)};
  if (entry.train_labels != nullptr) sets.train.labels = entry.train_labels(options);
  return sets;
}

bool labels_without_files(const DataOptions& options) {
  return find_entry(options.name).train_labels != nullptr;
}

}  // namespace sculpt::data

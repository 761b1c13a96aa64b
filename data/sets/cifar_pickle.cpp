#include "data/sets/cifar_pickle.h"

#include <vector>

#include "data/files.h"
#include "data/sets/pickle.h"
#include "engine/core/error.h"

namespace sculpt::data {
namespace {

using Kind = PickleValue::Kind;

const PickleValue& require(const PickleValue& dict, const std::string& key, Kind kind) {
  const PickleValue* const value = find(dict, key);
  if (value == nullptr) fail("it has no '{}'", key);
  if (value->kind != kind)
    fail("its '{}' is not {}", key, kind == Kind::list ? "a list" : "an array");
  return *value;
}

void append(const PickleValue& batch, const std::string& label_key, int64_t records, Dataset& set) {
  if (batch.kind != Kind::dict) fail("it does not hold a dictionary");
  const int64_t pixels = set.shape.count();
  const PickleValue& data = require(batch, "data", Kind::array);
  const PickleValue& labels = require(batch, label_key, Kind::list);
  if (data.element != "u1" || data.shape != std::vector<int64_t>{records, pixels} ||
      static_cast<int64_t>(data.bytes.size()) != records * pixels)
    fail("its 'data' is not an array of {} x {} bytes", records, pixels);
  if (static_cast<int64_t>(labels.items.size()) != records)
    fail("it has {} labels for {} images", labels.items.size(), records);
  for (int64_t i = 0; i < records; ++i) {
    const PickleValue* const label = labels.items[static_cast<size_t>(i)];
    if (label->kind != Kind::integer || label->integer < 0 || label->integer >= set.classes)
      fail("label {} of image {} is not a class of {}, 0 to {}", label->integer, i, set.name,
           set.classes - 1);
    set.labels.push_back(static_cast<int32_t>(label->integer));
  }
  set.images.insert(set.images.end(), data.bytes.begin(), data.bytes.end());
}

}  // namespace

void append_pickled(const std::string& path, const std::string& label_key, int64_t records,
                    const std::string& hint, Dataset& set) {
  const std::vector<uint8_t> bytes = read_file(path, -1, hint);
  const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  // The limit is generous: a record has at most about ten values, such as labels and a file name.
  const auto most_values = static_cast<size_t>(16 * records + 1000);
  try {
    const Pickle pickle(view, most_values);
    append(pickle.value(), label_key, records, set);
  } catch (const Error& error) {
    fail(
        "{}: the file does not hold {} as pickled for Python: {}; it is damaged, or it is another "
        "file; delete it, and {}",
        path, set.name, error.what(), hint);
  }
}

}  // namespace sculpt::data

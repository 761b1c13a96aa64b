#include "data/sets/cifar.h"

#include <sstream>

#include "data/files.h"
#include "data/sets/cifar_pickle.h"
#include "engine/core/error.h"

namespace sculpt::data {
namespace {

constexpr int64_t kPixelBytes = 3 * 32 * 32;
constexpr size_t kPickled = 1;  // index in the list of layouts below

const char* const kCifar10Classes = "airplane automobile bird cat deer dog frog horse ship truck";
const char* const kCifar100Classes =
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch "
    "crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo "
    "keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse "
    "mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy "
    "porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television "
    "tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm";

std::vector<std::string> split_words(const char* words) {
  std::istringstream in(words);
  std::vector<std::string> list;
  for (std::string word; in >> word;)
    list.push_back(word);
  return list;
}

/// The position of the label in a record, and the name of the set.
struct Format {
  const char* dataset;
  int64_t label_bytes;  // the last of these bytes is the label
  int64_t classes;
  std::string hint;  ///< fetch_hint()
};

Dataset empty_set(const Format& format, const char* class_names, Normalization normalization) {
  Dataset set;
  set.name = format.dataset;
  set.shape = {3, 32, 32};
  set.classes = format.classes;
  set.class_names = split_words(class_names);
  set.normalization = std::move(normalization);
  return set;
}

void append_records(const Format& format, const std::string& path, int64_t records, Dataset& set) {
  const int64_t record_bytes = format.label_bytes + kPixelBytes;
  const std::vector<uint8_t> bytes = read_file(path, records * record_bytes, format.hint);
  for (int64_t i = 0; i < records; ++i) {
    const uint8_t* record = bytes.data() + i * record_bytes;
    const int32_t label = record[format.label_bytes - 1];
    if (label >= format.classes) {
      fail(
          "{}: record {} has label {}, but {} has classes 0 to {}; the file is damaged or not "
          "{}; delete it, and {}",
          path, i, label, format.dataset, format.classes - 1, format.dataset, format.hint);
    }
    set.labels.push_back(label);
    set.images.insert(set.images.end(), record + format.label_bytes, record + record_bytes);
  }
}

}  // namespace

TrainTest load_cifar10(const std::string& root, int64_t records) {
  const Format format = {"cifar10", 1, 10, fetch_hint("cifar10", root)};
  const Found found = find_layout(
      format.dataset, root,
      {{"cifar-10-batches-bin", "data_batch_1.bin"}, {"cifar-10-batches-py", "data_batch_1"}});
  const Dataset empty = empty_set(format, kCifar10Classes,
                                  {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}});
  TrainTest sets = {empty, empty};
  sets.train.images.reserve(static_cast<size_t>(5 * records * kPixelBytes));
  const auto append = [&](const std::string& name, Dataset& set) {
    const std::string path = found.folder + "/" + name;
    if (found.layout == kPickled)
      append_pickled(path, "labels", records, format.hint, set);
    else
      append_records(format, path + ".bin", records, set);
  };
  for (int batch = 1; batch <= 5; ++batch)
    append(fmt::format("data_batch_{}", batch), sets.train);
  append("test_batch", sets.test);
  return sets;
}

TrainTest load_cifar100(const std::string& root, int64_t train_records, int64_t test_records) {
  const Format format = {"cifar100", 2, 100, fetch_hint("cifar100", root)};
  const Found found = find_layout(
      format.dataset, root, {{"cifar-100-binary", "train.bin"}, {"cifar-100-python", "train"}});
  const Dataset empty = empty_set(format, kCifar100Classes,
                                  {{0.5071f, 0.4865f, 0.4409f}, {0.2673f, 0.2564f, 0.2762f}});
  TrainTest sets = {empty, empty};
  sets.train.images.reserve(static_cast<size_t>(train_records * kPixelBytes));
  const auto append = [&](const std::string& name, int64_t records, Dataset& set) {
    const std::string path = found.folder + "/" + name;
    if (found.layout == kPickled)
      append_pickled(path, "fine_labels", records, format.hint, set);
    else
      append_records(format, path + ".bin", records, set);
  };
  append("train", train_records, sets.train);
  append("test", test_records, sets.test);
  return sets;
}

}  // namespace sculpt::data

#include "data/data_options.h"

#include "data/registry.h"
#include "data/transforms/augment.h"

namespace sculpt::data {

void DataOptions::visit(OptionVisitor& v) {
  v.choice("name", name, dataset_names(), "data set");
  v.text("root", root, "folder with the data set's files; not used by synthetic");
  v.integer("train_limit", train_limit, {0, 1 << 30},
            "train on a random subset of this many images, chosen by the seed; 0 = all");
  v.integer("test_limit", test_limit, {0, 1 << 30},
            "test on a random subset of this many images, chosen by the seed; 0 = all");
  v.real("val_split", val_split, {0.0, 1.0, false, true},
         "fraction of the training set held out, chosen by the seed; when above 0, accuracy is "
         "measured there and not on the test set");
  v.integer("crop_padding", crop_padding, {0, 64},
            "pad each side with this many pixels, then crop at random; 0 = off");
  v.choice("crop_fill", crop_fill, crop_fill_names(),
           "colour of the padding: black, the mean colour, or the image mirrored at its border");
  v.boolean("flip", flip, "mirror half of the images at random (never digits: mnist)");
  v.integer("cutout", cutout, {0, 256},
            "side of the square that is overwritten with the mean colour; 0 = off");
  v.real("label_noise", label_noise, {0.0, 1.0, false, false},
         "fraction of the training images that get another class, uniformly among the other "
         "classes; images of the validation and the test set keep theirs");
  v.integer("label_noise_seed", label_noise_seed, {0, 1 << 30},
            "which images get another class, and which one; the run's seed does not change it");
  v.integer("synthetic_train", synthetic_train, {10, 1000000},
            "training images of the synthetic data set");
  v.integer("synthetic_test", synthetic_test, {10, 1000000},
            "test images of the synthetic data set");
  v.integer("synthetic_seed", synthetic_seed, {0, 1 << 30},
            "which synthetic data set; the run's seed does not change it");
}

}  // namespace sculpt::data

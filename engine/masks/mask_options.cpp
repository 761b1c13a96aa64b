#include "engine/masks/mask_options.h"

namespace sculpt {

void MaskOptions::visit(OptionVisitor& v) {
  std::vector<std::string> names = {"none"};
  for (std::string& name : mask_rule_names())
    names.push_back(std::move(name));
  v.choice(
      "rule", rule, names,
      "rule that changes the masks in every cycle of a named method; a plan names rules itself "
      "(\"train 30 with rigl\")");
  v.integer("interval", interval, {0, 1'000'000'000},
            "steps between two changes of masks; 0: 100, and 4000 for itop");
  v.real("drop", drop, {0, 1, false, true},
         "fraction of the kept weights of a layer that the first change exchanges; it falls as a "
         "cosine. 0: 0.3 for set and rigl, 0.5 for itop and granet");
  v.real("begin", begin, {0, 1, false, true},
         "fraction of a cycle at which gmp and granet begin to prune");
  v.real("end", end, {0, 1},
         "fraction of a cycle at which gmp, granet and str reach their density, and after which "
         "set, rigl and itop leave the masks alone; 0: 0.75, 0.9 for str, and 1 for itop");
  v.reals("sparse_from", sparse_from, {0, 1, true, true},
          "fractions of a cycle at which acdc prunes to its density; []: the epochs 10, 50, 90, "
          "130 and 170 of 200");
  v.reals("dense_from", dense_from, {0, 1, true, true},
          "fractions of a cycle at which acdc makes all weights active; []: the epochs 30, 70, 110 "
          "and 150 of 200");
  v.real("str_init", str_init, {-10000, 0},
         "number s of every layer when a cycle of str begins; the threshold of the layer is "
         "sigmoid(s)");
}

}  // namespace sculpt

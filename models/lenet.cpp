// This file has LeNet-300-100 and LeNet-5 (LeCun et al. 1998) with ReLU, as the lottery-ticket
// papers use them.

#include "models/models.h"

namespace sculpt::models {

namespace {

Value classified(Builder& b, Value x, std::string_view layer, const ModelContext& context) {
  if (context.options.dropout > 0) x = b.dropout(x, context.options.dropout);
  return b.linear(layer, x, context.classes);
}

}  // namespace

Value mlp(Builder& b, Value x, const ModelContext& context) {
  x = b.flatten(x);
  x = b.relu(b.linear("fc1", x, context.scaled(300)));
  x = b.relu(b.linear("fc2", x, context.scaled(100)));
  return classified(b, x, "fc3", context);
}

Value lenet(Builder& b, Value x, const ModelContext& context) {
  x = b.relu(b.conv("conv1", x, context.scaled(6), {.kernel = 5, .padding = 2, .bias = true}));
  x = b.max_pool(x, 2, 2);
  x = b.relu(b.conv("conv2", x, context.scaled(16), {.kernel = 5, .padding = 0, .bias = true}));
  x = b.max_pool(x, 2, 2);
  x = b.flatten(x);
  x = b.relu(b.linear("fc1", x, context.scaled(120)));
  x = b.relu(b.linear("fc2", x, context.scaled(84)));
  return classified(b, x, "fc3", context);
}

}  // namespace sculpt::models

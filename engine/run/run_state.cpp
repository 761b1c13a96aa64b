#include "engine/run/run_state.h"

#include <charconv>
#include <cstdlib>

#include "engine/core/error.h"

namespace sculpt {
namespace {

struct ToText {
  safetensors::Metadata& metadata;
  template <class T>
  void operator()(const char* name, T& value) {
    metadata[name] = fmt::format("{}", value);  // shortest text that reads back as the same number
  }
};

struct FromText {
  const safetensors::File& file;

  void operator()(const char* name, int64_t& value) {
    const std::string& text = file.metadata(name);
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (result.ec != std::errc() || result.ptr != end || value < 0)
      fail("{}: metadata '{}' is '{}', not a count", file.name(), name, text);
  }
  void operator()(const char* name, double& value) {
    const std::string& text = file.metadata(name);
    char* end = nullptr;
    value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0')
      fail("{}: metadata '{}' is '{}', not a number", file.name(), name, text);
  }
};

}  // namespace

safetensors::Metadata to_metadata(RunState state) {
  safetensors::Metadata metadata;
  state.visit(ToText{metadata});
  return metadata;
}

RunState state_from(const safetensors::File& file) {
  RunState state;
  state.visit(FromText{file});
  return state;
}

}  // namespace sculpt

#include "apps/sculpt_study/run_progress.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/run/run_folder.h"

namespace sculpt {

using Json = nlohmann::json;

RunProgress::RunProgress(const std::filesystem::path& run_folder)
    : file_(RunFolder(run_folder).metrics()) {
  forget();
  update();
}

void RunProgress::forget() {
  position_ = epochs_ = 0;
  images_per_second_ = 0;
  test_accuracy_ = NAN;
}

void RunProgress::update() {
  std::error_code error;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(file_, error));
  if (error || size == position_) return;
  // A resumed run removes the lines after its checkpoint.
  if (size < position_) forget();
  std::ifstream in(file_, std::ios::binary);
  in.seekg(position_);
  for (std::string text; std::getline(in, text) && !in.eof();) {
    position_ += static_cast<int64_t>(text.size()) + 1;
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) continue;
    const auto number = [&](const char* key, double otherwise) {
      const auto found = line.find(key);
      return found != line.end() && found->is_number() ? found->get<double>() : otherwise;
    };
    epochs_ = static_cast<int64_t>(number("epoch", static_cast<double>(epochs_)));
    images_per_second_ = number("images_per_second", images_per_second_);
    test_accuracy_ = number("test_accuracy", test_accuracy_);
  }
}

}  // namespace sculpt

// Exported files, read back.

#include "engine/analyze/exported_network.h"

#include <cstring>
#include <doctest/doctest.h>

#include "engine/run/network_file.h"
#include "tests/analyze/measured_network.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

std::vector<float> logits_of(MeasuredNetwork& measured, const StoredNetwork& values) {
  set_values(measured.network, values);
  measured.network.load(measured.train_images(0, 8), measured.test.normalization());
  measured.network.forward(Mode::eval);
  return measured.network.logits();
}

/// Replaces a tensor of a file by another one.
void replace(const std::filesystem::path& path, const std::string& name,
             const std::vector<int32_t>& values) {
  const safetensors::File file = safetensors::File::read(path, false);
  std::vector<safetensors::Tensor> tensors = file.tensors();
  for (safetensors::Tensor& t : tensors)
    if (t.name == name) t.data = std::as_bytes(std::span(values));
  safetensors::Metadata metadata = file.metadata();
  metadata.erase("checksum");
  safetensors::write(path, tensors, metadata);
}

}  // namespace

TEST_CASE("exported network: dense and compact files give the same network to the last bit") {
  MeasuredNetwork measured(*test::tested_backends().front());
  const ParameterArena& arena = measured.network.parameters();
  const TemporaryFolder folder;
  for (const double density : {0.1, 0.6, 1.0}) {
    CAPTURE(density);
    const StoredNetwork values = measured.random_values(41, density);
    const std::vector<float> expected = logits_of(measured, values);

    write_exported(folder / "compact.safetensors", arena, values, ExportForm::compact,
                   {{"model", "tiny"}});
    CHECK(is_compact(folder / "compact.safetensors"));
    const StoredNetwork compact = read_compact(folder / "compact.safetensors", arena);
    CHECK(compact.weights == values.weights);
    CHECK(compact.masks == values.masks);
    CHECK(compact.states == values.states);
    CHECK(compact.batches_tracked == values.batches_tracked);
    CHECK(logits_of(measured, compact) == expected);

    write_exported(folder / "dense.safetensors", arena, values, ExportForm::dense, {});
    CHECK_FALSE(is_compact(folder / "dense.safetensors"));
    const safetensors::File file = safetensors::File::read(folder / "dense.safetensors", true);
    for (const Parameter& p : arena.parameters()) {
      CHECK_FALSE(file.has(p.name + ".mask"));
      CHECK(file.get(p.name).shape == p.shape);
    }
    CHECK(file.get("bn1.num_batches_tracked").shape.empty());
    const NetworkFile dense =
        NetworkFile::read(folder / "dense.safetensors", NetworkParts::both, "test");
    dense.require_fit(arena);
    const StoredNetwork stored = dense.stored(arena);
    CHECK(stored.weights == values.weights);
    CHECK(stored.states == values.states);
    CHECK(logits_of(measured, stored) == expected);
    if (density < 0.2)
      CHECK(std::filesystem::file_size(folder / "compact.safetensors") <
            std::filesystem::file_size(folder / "dense.safetensors"));
  }
}

TEST_CASE("exported network: a compact file that does not fit is refused by name") {
  MeasuredNetwork measured(*test::tested_backends().front());
  const ParameterArena& arena = measured.network.parameters();
  const TemporaryFolder folder;
  const auto path = folder / "compact.safetensors";
  const StoredNetwork values = measured.random_values(42, 0.5);
  const std::string name = arena.parameters()[0].name;
  write_exported(path, arena, values, ExportForm::compact, {});
  const auto file = safetensors::File::read(path, false);
  std::vector<int32_t> indices(static_cast<size_t>(file.get(name + ".indices").count()));
  file.get(name + ".indices").copy_to(std::as_writable_bytes(std::span(indices)));
  REQUIRE(indices.size() > 2);

  auto wrong = indices;
  std::swap(wrong[0], wrong[1]);
  replace(path, name + ".indices", wrong);
  CHECK_THROWS_WITH_AS(read_compact(path, arena), doctest::Contains("not ascending"), Error);
  wrong = indices;
  wrong.back() = static_cast<int32_t>(arena.parameters()[0].count);
  replace(path, name + ".indices", wrong);
  CHECK_THROWS_WITH_AS(read_compact(path, arena), doctest::Contains(name.c_str()), Error);
  replace(path, name + ".indices", indices);
  CHECK_NOTHROW(read_compact(path, arena));

  write_exported(path, arena, values, ExportForm::dense, {});
  CHECK_THROWS_AS(read_compact(path, arena), Error);
}

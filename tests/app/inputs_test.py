"""The files that a run reads: the data set, which must stay the same, model.init_from, and those that its
plan loads."""
import json
import struct

from common import ProgramTest, content_of, final, main
from tensors import read_tensors, write_tensors

PIXELS = 3 * 32 * 32
CUSTOM = ["--set", "method=custom"]


def floats(content):
    return struct.unpack(f"<{len(content) // 4}f", content)


class Data(ProgramTest):
    def setUp(self):
        super().setUp()
        self.root = self.folder / "data"
        self.root.mkdir()
        names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
        for name in names:  # black images of class 0, in files with holes
            with open(self.root / name, "wb") as file:
                file.truncate(10000 * (1 + PIXELS))
        self.label_images(0)
        self.words = [self.config, "--set", "data.name=cifar10", "--set", f"data.root={self.root}",
                      "--set", "data.train_limit=96", "--set", "data.test_limit=32"]

    def label_images(self, shift):
        with open(self.root / "data_batch_1.bin", "r+b") as file:
            for i in range(200):
                file.seek(i * (1 + PIXELS))
                file.write(bytes([(i + shift) % 10, *range(i % 50, i % 50 + 100)]))

    def test_resume_with_other_data_is_refused(self):
        out = self.folder / "run"
        self.interrupt(out, *self.words)
        recorded = json.loads((out / "environment.json").read_text())["data_fingerprint"]
        before = content_of(out)
        self.label_images(1)
        said = ["the data set cifar10", recorded, "restore the files in data.root", "--out"]
        done = self.assert_fails(2, said, *self.words, "--out", out, "--resume")
        self.assertEqual(done.stderr.count(recorded), 1, "two fingerprints that differ")
        self.assertEqual(content_of(out), before)
        # The checkpoints contain the fingerprint, too.
        (out / "environment.json").unlink()
        self.assert_fails(2, said, *self.words, "--out", out, "--resume")
        # The advice is followed: other folders are used, and the original files are put back.
        self.finish(*self.words, "--out", self.folder / "other")
        self.label_images(0)
        (out / "environment.json").unlink(missing_ok=True)
        self.finish(*self.words, "--out", out, "--resume")
        self.assertEqual(json.loads((out / "environment.json").read_text())["data_fingerprint"],
                         recorded)
        self.assertIn(recorded.encode(), final(out)[:20000])


class MadeData(ProgramTest):
    def test_the_fix_for_a_data_set_without_files(self):
        out = self.folder / "run"
        self.interrupt(out, self.config)
        path = out / "environment.json"
        environment = json.loads(path.read_text())
        path.write_text(json.dumps({**environment, "data_fingerprint": "0123456789abcdef"}))
        done = self.assert_fails(2, ["the data set synthetic has changed", "0123456789abcdef",
                                     "use the program that the run was started with", "--out"],
                                 "--resume", out)
        self.assertNotIn("data.root", done.stderr)


class InitFrom(ProgramTest):
    def setUp(self):
        super().setUp()
        self.source = self.folder / "source"
        self.finish(self.config, "--out", self.source)
        self.file = self.source / "checkpoints" / "final.safetensors"

    def init(self, path, parts="both"):
        return [self.config, "--set", f"model.init_from={path}", "--set",
                f"model.init_parts={parts}"]

    def plan(self, *steps):
        return CUSTOM + ["--set", "plan=" + json.dumps(steps)]

    def test_evaluating_what_was_loaded(self):
        """If a plan changes nothing before its first epoch, rewind 0 is the loaded state."""
        out = self.folder / "run"
        self.finish(*self.init(self.file), "--out", out,
                    *self.plan("train 1", "prune magnitude global 0.1", "rewind 0", "train 1"))
        source = read_tensors(self.file)
        start_of_run = read_tensors(out / "checkpoints" / "rewind-epoch-0.safetensors")
        for name, (dtype, shape, content) in start_of_run.items():
            self.assertEqual((dtype, shape, content), source[name], name)
        result = read_tensors(out / "checkpoints" / "final.safetensors")
        masked = kept = 0
        for name, (_, _, mask) in result.items():
            if not name.endswith(".mask"):
                continue
            weights = floats(result[name[:-5]][2])
            for now, before, weight in zip(mask, source[name][2], weights):
                self.assertLessEqual(now, before)
                if not now:
                    self.assertEqual(struct.pack("<f", weight), b"\0\0\0\0")
                masked += 1 - now
                kept += now
        self.assertAlmostEqual(kept / (kept + masked), 0.1, delta=1e-3)

    def test_resume_needs_the_file_no_more_and_refuses_another(self):
        copy = self.folder / "start.safetensors"
        copy.write_bytes(self.file.read_bytes())
        words = [*self.init(copy), *self.plan("train 3", "prune magnitude global 0.1", "train 2")]
        whole, out = self.folder / "whole", self.folder / "run"
        self.finish(*words, "--out", whole)
        self.interrupt(out, *words)
        recorded = json.loads((out / "environment.json").read_text())["init_from_fingerprint"]
        # The file has another network under the same name.
        other = self.folder / "other"
        self.finish(self.config, "--out", other, "--set", "seed=8")
        copy.write_bytes(final(other))
        self.assert_fails(2, ["model.init_from", copy, recorded, "restore the file", "--out"],
                          *words, "--out", out, "--resume")
        copy.unlink()
        self.finish(*words, "--out", out, "--resume")
        self.assertEqual(final(out), final(whole))
        environment = json.loads((out / "environment.json").read_text())
        self.assertEqual(environment["init_from_fingerprint"], recorded)
        # A run that starts needs the file.
        self.assert_fails(2, ["model.init_from", f"no file {copy}"], *words, "--out",
                          self.folder / "new")
        self.assert_fails(2, ["model.init_from", f"no file {copy}"], *words, "--plan")
        self.assertFalse((self.folder / "new").exists())

    def test_files_that_a_plan_loads(self):
        copy = self.folder / "to load.safetensors"
        copy.write_bytes(self.file.read_bytes())
        words = [self.config, *self.plan("train 3", f"load mask from {copy}", f"load signs from {self.source}",
                                         "train 2")]
        whole, out = self.folder / "whole", self.folder / "run"
        self.finish(*words, "--out", whole)
        masks = {name: content for name, (_, _, content) in
                 read_tensors(whole / "checkpoints" / "final.safetensors").items() if name.endswith(".mask")}
        self.assertEqual(masks, {name: content for name, (_, _, content) in read_tensors(copy).items()
                                 if name.endswith(".mask")})
        self.interrupt(out, *words)
        recorded = json.loads((out / "environment.json").read_text())["loaded_fingerprints"]
        self.assertEqual(set(recorded), {str(copy), str(self.source)})
        # The file has another network under the same name.
        other = self.folder / "other"
        self.finish(self.config, "--out", other, "--set", "seed=8")
        copy.write_bytes(final(other))
        self.assert_fails(2, ["the file that the plan loads from", copy, recorded[str(copy)],
                              "restore the file", "--out"], *words, "--out", out, "--resume")
        copy.unlink()
        self.assert_fails(2, ["step 2 of the plan", copy], *words, "--out", out, "--resume")
        copy.write_bytes(self.file.read_bytes())
        self.finish(*words, "--out", out, "--resume")
        self.assertEqual(final(out), final(whole))
        # The run has finished, and needs the file no more.
        copy.unlink()
        self.finish(*words, "--out", out, "--resume")
        self.assert_fails(2, ["step 2 of the plan", copy], *words, "--plan")
        self.assert_fails(2, ["step 2 of the plan", copy], *words, "--out", self.folder / "new")
        self.assertFalse((self.folder / "new").exists())

    def test_plans_show_the_density_of_a_loaded_mask(self):
        text = self.finish(self.config, "--plan",
                           *self.plan(f"load mask from {self.source}", "train 2"))
        row = next(line.split() for line in text.splitlines() if " train 2 " in line)
        self.assertAlmostEqual(float(row[3]), 20, delta=0.01)
        done = self.assert_fails(2, ["step 3 of the plan"], self.config, "--plan", *self.plan(
            f"load mask from {self.source}", "train 2", "prune magnitude global 0.5", "train 1"))
        self.assertNotIn("model.init_from", done.stderr)

    def test_plan_begins_at_the_loaded_density(self):
        text = self.finish(*self.init(self.file), "--plan",
                           *self.plan("train 2", "prune magnitude global 0.1", "train 2"))
        rows = [line.split() for line in text.splitlines() if " train 2 " in line]
        self.assertAlmostEqual(float(rows[0][3]), 20, delta=0.01)
        self.assertAlmostEqual(float(rows[1][3]), 10, delta=0.01)
        dense = self.finish(self.config, "--plan",
                            *self.plan("train 2", "prune magnitude global 0.1", "train 2"))
        share = [line for line in text.splitlines() if "one dense cycle" in line]
        self.assertEqual(share, [line for line in dense.splitlines() if "one dense cycle" in line])
        too_dense = self.plan("train 2", "prune magnitude global 0.5", "train 2")
        for more in (["--plan"], ["--out", self.folder / "run"]):
            self.assert_fails(2, ["step 2 of the plan", "keep 0.1999", "model.init_parts"],
                              *self.init(self.file), *too_dense, *more)
        self.assertFalse((self.folder / "run").exists())
        self.finish(*self.init(self.file, "weights"), *too_dense, "--plan")

    def test_files_that_do_not_fit(self):
        tensors = read_tensors(self.file)
        resumable = {**tensors, "optimizer.momentum.fc.bias": tensors["fc.bias"]}
        halves = {name: ("BF16", shape, b"".join(content[i + 2:i + 4]
                                                 for i in range(0, len(content), 4)))
                  if dtype == "F32" else (dtype, shape, content)
                  for name, (dtype, shape, content) in tensors.items()}
        plain = {name: t for name, t in tensors.items() if not name.endswith(".mask")}
        for number, good in enumerate((resumable, halves, plain)):
            path = write_tensors(self.folder / f"good-{number}.safetensors", good)
            self.finish(*self.init(path), "--plan", *self.plan("train 1"))
        dtype, shape, content = tensors["fc.weight"]
        classes = {**plain, "fc.weight": (dtype, [20, shape[1]], content * 2)}
        missing = {name: t for name, t in plain.items() if name != "bn1.running_var"}
        for bad, parts in ((classes, ["fc.weight is [20, "]),
                           (missing, ["bn1.running_var", "not in the file"]),
                           ({**plain, "more": ("F32", [1], b"\0" * 4)}, ["more [1]"]),
                           ({**plain, "fc.bias": ("F64", [10], b"\0" * 80)}, ["fc.bias", "F32"])):
            path = write_tensors(self.folder / "bad.safetensors", bad)
            self.assert_fails(2, [path, *parts], *self.init(path), "--plan", *self.plan("train 1"))
        damaged = bytearray(self.file.read_bytes())
        damaged[-10] ^= 1
        (self.folder / "bad.safetensors").write_bytes(damaged)
        self.assert_fails(2, ["bad.safetensors is damaged"],
                          *self.init(self.folder / "bad.safetensors"), "--out", self.folder / "run")
        self.assert_fails(2, ["has no masks", "model.init_parts"],
                          *self.init(write_tensors(self.folder / "plain.safetensors", plain),
                                     "masks"), "--plan", *self.plan("train 1"))
        self.assertFalse((self.folder / "run").exists())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""sculpt_analyze as a program: its analyses of a run, their files, its errors, exports read back, exit codes."""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from common import PROGRAM, ROOT, TIMEOUT, TINY, main, records, sculpt_run, sets

sys.path.insert(0, str(ROOT / "tools"))

ANALYZE = os.environ.get("SCULPT_ANALYZE", str(Path(PROGRAM).parent / "sculpt_analyze"))


def analyze(*words, **options):
    """Runs the program and returns the finished process with its output as text."""
    return subprocess.run([ANALYZE, *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False, stdin=subprocess.DEVNULL, **options)


def tensors_of(path):
    """Returns {name: (dtype, shape, bytes)} and the metadata of a safetensors file, without numpy."""
    content = Path(path).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    metadata = header.pop("__metadata__", {})
    data = content[8 + size:]
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}, metadata


class Analyze(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = Path(tempfile.mkdtemp(prefix="sculpt-analyze-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        (cls.shared / "tiny.toml").write_text(TINY)
        cls.kept = cls.shared / "kept"
        cls.plain = cls.shared / "plain"
        for folder, words in ((cls.kept, sets("train.keep=cycles")), (cls.plain, ())):
            done = sculpt_run(cls.shared / "tiny.toml", "--out", folder, *words)
            assert done.returncode == 0, done.stdout + done.stderr

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sculpt-analyze-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def succeed(self, *words):
        done = analyze(*words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def assert_fails(self, code, parts, *words):
        done = analyze(*words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        for part in parts:
            self.assertIn(str(part), done.stderr)

    def result(self, name, run=None):
        """Returns the values of an analysis file."""
        return json.loads(((run or self.kept) / "analysis" / f"{name}.json").read_text())

    def final(self, run=None):
        return (run or self.kept) / "checkpoints" / "final.safetensors"

    def test_kept_cycles(self):
        names = {path.name for path in (self.kept / "checkpoints").glob("cycle-*")}
        self.assertEqual(names, {f"cycle-{n}.safetensors" for n in (1, 2, 3)})
        # Keeping them changes nothing else: the results of both runs are the same.
        self.assertEqual(self.final().read_bytes(), self.final(self.plain).read_bytes())
        self.assertFalse(list((self.plain / "checkpoints").glob("cycle-*")))
        last, final = tensors_of(self.kept / "checkpoints/cycle-3.safetensors")[0], tensors_of(self.final())[0]
        self.assertEqual(last, final)

    def test_connectivity(self):
        text = self.succeed("connectivity", self.kept, "--points", 4, "--images", 50)
        self.assertIn("1-2", text)
        analysis = self.result("connectivity-cycles")
        self.assertEqual(analysis["format"], "sculpt-analysis-1")
        values = analysis["values"]
        for pair in ("1-2", "2-3"):
            for quantity in ("test_error", "train_error", "test_loss", "train_loss"):
                self.assertIn(f"barrier_{quantity}.{pair}", values)
                self.assertIn(f"barrier_interpolated_{quantity}.{pair}", values)
        self.assertAlmostEqual(values["barrier_test_loss.mean"],
                               (values["barrier_test_loss.1-2"] + values["barrier_test_loss.2-3"]) / 2)
        # The ends of the curve with interpolated statistics are the accuracies that the run recorded.
        figure = next(f for f in analysis["figures"] if f["name"] == "line-error")
        lines = records(self.kept / "metrics.jsonl")
        ends = {line["cycle"]: 100 * (1 - line["test_accuracy"]) for line in lines}
        pale = [series for series in figure["series"] if series["pale"]]
        self.assertEqual(len(pale), 2)
        self.assertAlmostEqual(pale[0]["y"][0], ends[1], places=3)
        self.assertAlmostEqual(pale[0]["y"][-1], ends[2], places=3)
        self.assertEqual(pale[0]["x"], [0, 1 / 3, 2 / 3, 1])

        # A network and itself have no barrier.
        self.succeed("connectivity", self.kept, "--between", "3", "final", "--points", 3, "--images", 50)
        values = self.result("connectivity-3-final")["values"]
        self.assertAlmostEqual(values["barrier_test_error.3-final"], 0)
        self.assertAlmostEqual(values["barrier_train_loss.3-final"], 0, places=5)

    def test_checkpoints_are_missing(self):
        self.assert_fails(2, [self.plain, "train.keep=cycles"], "connectivity", self.plain)
        self.assert_fails(2, ["cycle 7", "from cycle 1 to cycle"], "connectivity", self.kept, "--between", "7", "1")
        self.assert_fails(2, ["run folder"], "flips", self.final())
        self.assert_fails(2, ["there is no", "run folder"], "hessian", self.folder / "nothing")
        self.assert_fails(2, ["config.toml"], "hessian", self.folder)
        lone = self.folder / "lone.safetensors"
        shutil.copy(self.final(), lone)
        self.assert_fails(2, ["--config"], "evaluate", lone)
        other = TINY.replace("width = 0.25", "width = 0.5")
        (self.folder / "other.toml").write_text(other)
        self.assert_fails(2, ["does not fit the network", "model.width"], "evaluate", lone, "--config",
                          self.folder / "other.toml")
        self.assertFalse((self.plain / "analysis").exists())

    def test_the_advice_works(self):
        """What the error about missing checkpoints advises makes the analysis possible."""
        done = analyze("connectivity", self.plain)
        word = re.search(r"--set (\S+?),", done.stderr)[1]
        run = self.folder / "again"
        self.assertEqual(sculpt_run(self.shared / "tiny.toml", "--out", run, "--set", word).returncode, 0)
        self.succeed("connectivity", run, "--points", 2, "--images", 20)

    def test_structure(self):
        """Counts of the masks of a checkpoint, made here without the engine."""
        first = self.kept / "checkpoints/cycle-1.safetensors"
        self.succeed("structure", self.final())
        analysis = self.result("structure-final")
        values = analysis["values"]
        tensors = tensors_of(self.final())[0]
        count = kept = kernels = empty = filters = dead_filters = inputs = dead_inputs = 0
        layers = {}
        for name, (dtype, shape, content) in tensors.items():
            if not name.endswith(".mask"):
                continue
            self.assertEqual(dtype, "U8")
            outs, ins, size = shape[0], shape[1], len(content) // (shape[0] * shape[1])
            sums = [[sum(content[(o * ins + i) * size:][:size]) for i in range(ins)] for o in range(outs)]
            of_filters, of_inputs = [sum(row) for row in sums], [sum(column) for column in zip(*sums)]
            count, kept = count + len(content), kept + sum(content)
            filters, dead_filters = filters + outs, dead_filters + of_filters.count(0)
            inputs, dead_inputs = inputs + ins, dead_inputs + of_inputs.count(0)
            if size > 1:
                kernels += outs * ins
                empty += sum(row.count(0) for row in sums)
            layers[name.removesuffix(".weight.mask")] = [100 * n / (ins * size) for n in sorted(of_filters)]
        self.assertGreater(empty, 0)
        self.assertAlmostEqual(values["density.final"], kept / count)
        self.assertAlmostEqual(values["empty_kernels.final"], empty / kernels)
        self.assertEqual([values["dead_filters.final"], values["dead_inputs.final"]], [dead_filters, dead_inputs])
        everything, by_layer = analysis["tables"]
        row = dict(zip(everything["csv_columns"], everything["csv_rows"][0]))
        self.assertEqual([int(row["filters"]), int(row["inputs"])], [filters, inputs])
        self.assertEqual([row[0] for row in by_layer["rows"]], list(layers))
        for cells in by_layer["csv_rows"]:
            row, densities = dict(zip(by_layer["csv_columns"], cells)), layers[cells[0]]
            self.assertAlmostEqual(float(row["filters, least (%)"]), densities[0])
            self.assertAlmostEqual(float(row["filters, greatest (%)"]), densities[-1])

        text = self.succeed("structure", self.kept, first, "--out", self.folder)
        self.assertIn("cycle-1", text)
        self.assertEqual(self.result("structure", self.folder)["values"]["density.final"], values["density.final"])
        self.assertIn("density.cycle-1", self.result("structure", self.folder)["values"])

    def test_hessian(self):
        words = ("--images", 48, "--trace", "--probes", 3, "--top", 2)
        text = self.succeed("hessian", self.kept, *words)
        self.assertIn("cycle 3", text)
        values = self.result("hessian")["values"]
        for cycle in (1, 2, 3):
            self.assertGreater(values[f"eigenvalue_1.{cycle}"], 0)
            self.assertGreaterEqual(values[f"eigenvalue_1.{cycle}"], values[f"eigenvalue_2.{cycle}"] - 1e-3)
            self.assertLess(values[f"residual_1.{cycle}"], 0.2 * values[f"eigenvalue_1.{cycle}"])
            self.assertGreater(values[f"trace_standard_error.{cycle}"], 0)
        self.assertEqual(values["eigenvalue_1.last"], values["eigenvalue_1.3"])
        # The seed and the threads decide the numbers.
        self.succeed("hessian", self.kept / "checkpoints/cycle-2.safetensors", *words)
        again = self.result("hessian-cycle-2")["values"]
        self.assertEqual(again["eigenvalue_1.cycle-2"], values["eigenvalue_1.2"])
        self.assertEqual(again["trace.cycle-2"], values["trace.2"])

    def test_flips_and_compare(self):
        self.succeed("flips", self.kept)
        values = self.result("flips")["values"]
        masks, weights = {}, {}
        for cycle in (2, 3):
            tensors = tensors_of(self.kept / f"checkpoints/cycle-{cycle}.safetensors")[0]
            masks[cycle] = b"".join(value[2] for name, value in tensors.items() if name.endswith(".mask"))
        both = sum(a & b for a, b in zip(masks[2], masks[3]))
        either = sum(a | b for a, b in zip(masks[2], masks[3]))
        self.assertLess(both, either)  # the prune lies between them
        self.assertAlmostEqual(values["overlap.2-3"], both / either)
        self.assertEqual(values["overlap.initialisation-3"], 1)
        self.assertGreater(values["flipped.1-2"], 0)
        self.succeed("compare", self.kept / "checkpoints/cycle-2.safetensors", self.kept, "--out", self.folder)
        compared = json.loads((self.folder / "analysis/compare-cycle-2-final.json").read_text())["values"]
        self.assertEqual(compared["flipped.cycle-2-final"], values["flipped.2-3"])
        self.assertEqual(compared["distance.cycle-2-final"], values["distance.2-3"])

    def test_surface_and_prunes(self):
        cycle = self.kept / "checkpoints/cycle-1.safetensors"
        self.succeed("surface", self.kept, cycle, "--points", 3, "--images", 30)
        maps = self.result("surface")["heat_maps"]
        self.assertEqual([len(m["values"]) for m in maps], [9, 9])
        self.succeed("prunes", self.kept)
        prunes = [json.loads(line) for line in (self.kept / "prunes.jsonl").read_text().splitlines()]
        lines = records(self.kept / "metrics.jsonl")
        values = self.result("prunes")["values"]
        before = {line["epoch"]: line["test_accuracy"] for line in lines}
        step = f"{prunes[1]['plan_step'] + 1}"
        self.assertAlmostEqual(values[f"accuracy_change.{step}"],
                               prunes[1]["test_accuracy"] - before[prunes[1]["epoch"]])
        self.assertAlmostEqual(values[f"accuracy_after_training.{step}"], lines[-1]["test_accuracy"])
        dense = self.folder / "dense"
        self.assertEqual(sculpt_run(self.shared / "tiny.toml", "--out", dense,
                                    *sets("method=dense", "train.epochs=1", "cycles.count=1")).returncode, 0)
        self.assert_fails(2, ["no record of a prune", "dense"], "prunes", dense)

    def test_all(self):
        text = self.succeed("all", self.kept, "--images", 24, "--probes", 2, "--out", self.folder)
        names = {path.stem for path in (self.folder / "analysis").glob("*.json")}
        self.assertEqual(names, {"prunes", "flips", "connectivity-cycles", "hessian", "surface-3"}, text)
        done = analyze("all", self.plain, "--images", 24, "--out", self.folder / "plain")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("train.keep=cycles", done.stderr)

    def test_evaluate(self):
        self.succeed("evaluate", self.kept)
        values = self.result("evaluation-final")["values"]
        summary = json.loads((self.kept / "summary.json").read_text())
        self.assertAlmostEqual(values["accuracy"], summary["test_accuracy"])
        self.assertAlmostEqual(values["loss"], summary["test_loss"], places=5)
        analysis = self.result("evaluation-final")
        table = next(t for t in analysis["tables"] if t["name"] == "confusion")
        counts = [[int(cell) for cell in row[1:]] for row in table["rows"]]
        self.assertEqual(sum(map(sum, counts)), 40)
        self.assertAlmostEqual(sum(counts[n][n] for n in range(10)) / 40, summary["test_accuracy"])

    def test_export(self):
        final, _ = tensors_of(self.final())
        dense, compact = self.folder / "dense.safetensors", self.folder / "compact.safetensors"
        self.succeed("export", self.kept, "--out", dense)
        self.succeed("export", self.final(), "--out", compact, "--compact")
        tensors, metadata = tensors_of(dense)
        self.assertEqual(metadata["format"], "sculpt-dense-1")
        self.assertEqual(tensors, {name: value for name, value in final.items() if not name.endswith(".mask")})
        self.assertLess(compact.stat().st_size, dense.stat().st_size)
        # An export never replaces a checkpoint, whose masks it lacks.
        before = self.final().read_bytes()
        self.assert_fails(2, ["is a checkpoint of a run", "--out"], "export", self.final(), "--out", self.final())
        self.assertEqual(self.final().read_bytes(), before)
        # All three files are the same network.
        config = ("--config", self.kept / "config.toml", "--out", self.folder)
        for path in (dense, compact):
            self.succeed("evaluate", path, *config)
            values = json.loads((self.folder / f"analysis/evaluation-{path.stem}.json").read_text())["values"]
            summary = json.loads((self.kept / "summary.json").read_text())
            self.assertAlmostEqual(values["accuracy"], summary["test_accuracy"])
            self.assertAlmostEqual(values["loss"], summary["test_loss"], places=5)
        tensors, metadata = tensors_of(compact)
        self.assertEqual(metadata["format"], "sculpt-compact-1")
        self.assertFalse([name for name in tensors if name.endswith(".mask")])
        for name in metadata["masked"].split():
            kept = sum(final[f"{name}.mask"][2])
            self.assertEqual(tensors[f"{name}.values"][1], [kept])
            self.assertEqual(tensors[f"{name}.indices"][1], [kept])
            self.assertNotIn(name, tensors)
        for name in metadata["masked"].split():
            shape = struct.unpack(f"<{len(tensors[f'{name}.shape'][2]) // 8}q", tensors[f"{name}.shape"][2])
            self.assertEqual(list(shape), final[name][1])
            values = memoryview(tensors[f"{name}.values"][2]).cast("f")
            whole = [0.0] * (len(final[name][2]) // 4)
            for place, value in zip(memoryview(tensors[f"{name}.indices"][2]).cast("i"), values):
                whole[place] = value
            self.assertEqual(struct.pack(f"<{len(whole)}f", *whole), final[name][2])
        try:
            import compact_checkpoint
        except ImportError:
            self.skipTest("there is no numpy to read the compact file with")
        arrays, masks = compact_checkpoint.read(compact)
        for name, (dtype, shape, content) in final.items():
            if name.endswith(".mask"):
                if name[:-len(".mask")] in masks:
                    self.assertEqual(masks[name[:-len(".mask")]].astype("u1").tobytes(), content)
                continue
            self.assertEqual(list(arrays[name].shape), shape)
            self.assertEqual(arrays[name].tobytes(), content)

    def test_arguments(self):
        self.assert_fails(2, ["did you mean --points?", "sculpt_analyze --help"], "connectivity", self.kept, "--point", 3)
        self.assert_fails(2, ["--points"], "connectivity", self.kept, "--points", 1)
        self.assert_fails(2, ["subcommand"])
        self.assert_fails(2, ["unknown key data.rooot"], "evaluate", self.kept, "--set", "data.rooot=x")
        self.assert_fails(2, ["no subcommand hesian; did you mean hessian?", "sculpt_analyze --help"], "hesian", self.kept)
        self.assert_fails(2, ["no subcommand xyzzy; the subcommands are connectivity, hessian"], "xyzzy", self.kept)
        for words in (("surface", "--extent", "nan"), ("surface", "--extent", "inf")):
            self.assert_fails(2, ["--extent", words[-1], "not in range 1e-06 to 1e+06"], words[0], self.kept, *words[1:])
        self.assert_fails(2, ["--points: 100000 is not in range 2 to 1000"], "surface", self.kept, "--points", 100000)
        self.assert_fails(2, ["--top: 99999999 is not in range 1 to 50"], "hessian", self.kept, "--top", 99999999)
        self.assertIn("connectivity", self.succeed("--help"))
        self.assertIn("--between", self.succeed("connectivity", "--help"))

    def test_results_that_cannot_be_written(self):
        """A folder that takes no files is found before anything is computed, and the advice fits the program."""
        (self.folder / "file").write_text("")
        for words in (("hessian", self.kept, "--images", 24), ("surface", self.kept, "--images", 24),
                      ("evaluate", self.kept), ("flips", self.kept), ("compare", self.kept, self.kept)):
            done = analyze(*words, "--out", self.folder / "file")
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn(f"{self.folder / 'file'} is not a folder", done.stderr)
            self.assertEqual(done.stdout, "")
        self.assert_fails(1, ["is not a folder"], "export", self.final(), "--out", self.folder / "file" / "x")
        if os.geteuid() != 0:
            self.folder.chmod(0o555)
            self.assert_fails(1, ["Permission denied; make the folder writable, then give the command again"],
                              "flips", self.kept, "--out", self.folder)
            self.folder.chmod(0o755)
        full = self.folder / "analysis" / "prunes.json.sculpt-tmp"
        full.parent.mkdir()
        full.symlink_to("/dev/full")
        done = analyze("prunes", self.kept, "--out", self.folder)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("No space left on device; free some space, then give the command again", done.stderr)
        self.assertNotIn("--resume", done.stderr)

    def test_tables_of_files_have_all_digits(self):
        self.succeed("flips", self.kept, "--out", self.folder)
        analysis = json.loads((self.folder / "analysis/flips.json").read_text())
        table = next(t for t in analysis["tables"] if t["name"] == "pairs")
        row = next(r for r in table["csv_rows"] if r[0] == "1-2")
        self.assertEqual(float(row[table["csv_columns"].index("distance")]), analysis["values"]["distance.1-2"])

    def test_interruption(self):
        process = subprocess.Popen([ANALYZE, "surface", str(self.kept), "--points", "300", "--out",
                                    str(self.folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, text=True)
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75, text + errors)
        self.assertFalse((self.folder / "analysis").exists())


if __name__ == "__main__":
    main()

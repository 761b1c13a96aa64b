"""The driver of tools/bench_ranks.py, with hosts and runs that are made up. No namespaces are needed."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401  (finds tools/)
import bench_ranks

PACKED = {"forward": "sparse", "input_grad": "sparse", "weight_grad": "sparse"}
MIXED = {**PACKED, "weight_grad": "dense"}


def arguments(*words):
    return bench_ranks.parse_arguments(list(words))


class MadeUpHosts:
    """Records the rates that are set."""

    def __init__(self, count):
        self.names = [f"host{i}" for i in range(count)]
        self.rates = []

    def set_rate(self, rate):
        self.rates.append(rate)


class Measurement(unittest.TestCase):
    def test_rates_take_turns(self):
        hosts, runs = MadeUpHosts(2), []

        def run(hosts, folder, batch, settings, _):
            text = (folder / "run.toml").read_text()
            self.assertIn('plan = ["prune random uniform 0.05", "train 3"]', text)
            runs.append((hosts.rates[-1], batch, settings))
            # The first round is faster everywhere, and throttled runs take four times as long.
            seconds = (1 if len(runs) <= 4 else 2) * (1 if hosts.rates[-1] is None else 4)
            return {"seconds": seconds, "bytes": 100, "packed": 0.5}

        results = bench_ranks.measure(
            hosts, "net", 64, 0.95,
            arguments("--rates", "none,1gbit", "--rounds", "2", "--set", "a=1", "--against", "b=2"), run)
        self.assertEqual(hosts.rates, [None, "1gbit", "1gbit", None])
        self.assertEqual([settings for _, _, settings in runs], [["a=1"], ["a=1", "b=2"]] * 4)
        self.assertEqual([(r["settings"], r["ranks"], r["seconds"]) for r in results],
                         [(settings, 2, {"none": [1, 2], "1gbit": [4, 8]}) for settings in ([], ["b=2"])])
        self.assertEqual(bench_ranks.efficiencies(results[0], "1gbit"), [0.25, 0.25])

    def test_dense_networks_exchange_the_same_with_either_setting(self):
        self.assertTrue(bench_ranks.differs(["dist.exchange=whole"], 0.9))
        self.assertFalse(bench_ranks.differs(["dist.exchange=whole"], 0))
        self.assertTrue(bench_ranks.differs(["dist.exchange=whole", "train.batch=8"], 0))
        self.assertFalse(bench_ranks.differs([], 0.9))

    def test_rows(self):
        result = {"model": "net", "batch": 64, "ranks": 4, "sparsity": 0.99, "settings": ["b=2"], "packed": 0.75,
                  "seconds": {"none": [0.1, 0.2, 0.3], "1gbit": [0.2, 0.2, 0.9]},
                  "bytes": {"none": [1_000_000, 1_200_000, 1_400_000], "1gbit": [1_200_000] * 3}}
        rates = ["none", "1gbit"]
        self.assertEqual(bench_ranks.row(result, rates),
                         "| net | 64 | 4 | 99 % | b=2 | 75 % | 1.20 | 200 (100-300) | 200 (200-900) | "
                         "**0.50 (0.33-1.00)** |")
        titles, line = bench_ranks.header(rates)
        self.assertEqual({text.count("|") for text in (titles, line, bench_ranks.row(result, rates))}, {11})


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)

    def write(self, name, *objects, end=""):
        (self.out / name).write_text("".join(json.dumps(one) + "\n" for one in objects) + end)

    def read(self, *words):
        return bench_ranks.read_run(self.out, 60, (1000, 4600), arguments("--blocks", "3", *words))

    def test_numbers(self):
        # The epoch that warms up is slow, and does not count.
        self.write("metrics.jsonl", *({"images_per_second": speed} for speed in (1, 60, 30, 20)))
        self.write("layers.jsonl", {"count": 300, "kernels": PACKED}, {"count": 100, "kernels": MIXED})
        self.assertEqual(self.read("--steps", "4"), {"seconds": 2.0, "bytes": 300.0, "packed": 0.75})

    def test_incomplete_runs(self):
        self.write("metrics.jsonl", *[{"images_per_second": 1}] * 3)
        with self.assertRaisesRegex(RuntimeError, "3 epochs, not 4"):
            self.read()
        self.write("metrics.jsonl", *[{"images_per_second": 1}] * 3, {"images_per_second": 1, "diverged": True})
        with self.assertRaisesRegex(RuntimeError, "diverged"):
            self.read()

    def test_files_that_are_being_written(self):
        self.assertEqual(bench_ranks.lines_of(self.out / "none"), [])
        self.write("lines", {"a": 1}, end='{"a": ')
        self.assertEqual(bench_ranks.lines_of(self.out / "lines"), [{"a": 1}])
        self.assertEqual(bench_ranks.packed_share([]), 0)

    def test_config(self):
        text = bench_ranks.config("net", 128, 0, arguments("--steps", "5", "--blocks", "4", "--width", "0.5"))
        self.assertIn('plan = ["train 5"]', text)
        self.assertIn("synthetic_train = 640\n", text)
        self.assertIn("width = 0.5\n", text)


class Command(unittest.TestCase):
    def test_command_line_leaves_out_paths(self):
        words = ["--models", "a:64", "--ranks", "2", "--sparsities", "0.9", "--rates", "none,1gbit", "--rounds", "1",
                 "--steps", "3", "--blocks", "4", "--threads", "2", "--width", "0.5", "--set", "x=1", "--mca", "y=2"]
        found = bench_ranks.command_line(arguments(*words, "--program", "/somewhere/sculpt_run"))
        self.assertEqual(found, " ".join(["tools/bench_ranks.py", *words]))

    def test_mistakes(self):
        for words, part in ((["--ranks", "1"], "--ranks 1: expected from 2 to 64"),
                            (["--models", "a:2", "--ranks", "4"], "--ranks 4"),
                            (["--sparsities", "1"], "--sparsities 1: expected a fraction"),
                            (["--rates", "1gbit"], "none among them"),
                            (["--rates", "none,none"], "different rates"),
                            (["--steps", "0"], "--steps 0: expected at least 1"),
                            (["--mca", "x"], "--mca x: expected KEY=VALUE"),
                            (["--models", "a"], "--models a: expected MODEL:BATCH")):
            with self.subTest(words), contextlib.redirect_stderr(io.StringIO()) as error, \
                    self.assertRaises(SystemExit) as left:
                arguments(*words)
            self.assertEqual(left.exception.code, 2)
            self.assertIn(part, error.getvalue())

    def test_skipped(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
            program = Path(folder) / "sculpt_run"
            with self.assertRaisesRegex(SystemExit, "error: there is no sculpt_run to measure"):
                bench_ranks.main(["--program", str(program)])
            program.touch()
            self.assertEqual(bench_ranks.main(["--program", str(program)]), bench_ranks.SKIPPED)
        self.assertEqual(out.getvalue(),
                         "skipped: the program was built without MPI (packages openmpi-bin libopenmpi-dev)\n")


if __name__ == "__main__":
    unittest.main()

"""sculpt_report as a program: pages of runs and of several runs, figures, numbers, live curves, event files;
and the page that sculpt_run keeps up to date."""
import csv
import html.parser
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import common
from common import ProgramTest, main, sculpt_run, sets, start, wait_for

REPORT = os.environ.get("SCULPT_REPORT", str(Path(common.PROGRAM).parent / "sculpt_report"))
# A Python that has TensorBoard. Without this variable, the Python of the tests is tried.
TENSORBOARD_PYTHON = os.environ.get("SCULPT_TENSORBOARD_PYTHON", sys.executable)
VOID = {"meta", "br", "wbr", "img", "link", "hr", "input"}


def sculpt_report(*words, **options):
    return subprocess.run([REPORT, *map(str, words)], capture_output=True, text=True, timeout=common.TIMEOUT,
                          check=False, stdin=subprocess.DEVNULL, **options)


class Balance(html.parser.HTMLParser):
    """Collects tags that are not closed in order, ids, and addresses of links."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.ids, self.links, self.tags = [], [], [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


class ReportTest(ProgramTest):
    def make_run(self, name="run", *settings):
        out = self.folder / name
        self.finish(self.config, "--out", out, *sets(*settings))
        return out

    def check_page(self, path, linked=True):
        """Checks that the page is whole and needs nothing else, and returns its text."""
        text = path.read_text(encoding="utf-8")
        self.assertLess(len(text.encode()), 2_000_000)
        balance = Balance()
        balance.feed(text)
        self.assertEqual((balance.wrong, balance.open), ([], []))
        self.assertEqual(len(balance.ids), len(set(balance.ids)))
        self.assertFalse(balance.tags & {"script", "link", "img", "iframe", "object", "embed"}, balance.tags)
        for bad in ("http://", "https://", "@import", "url(", "javascript:"):
            self.assertNotIn(bad, text)
        self.assertEqual(bool(balance.links), linked)
        for link in balance.links:
            self.assertTrue((path.parent / link).is_file(), link)
        drawings = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
        for drawing in drawings:
            ElementTree.fromstring(drawing)  # an error if it is not well-formed
            self.assertNotIn("nan", drawing)
        return text

    def assert_report_fails(self, code, parts, *words):
        done = sculpt_report(*words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        for part in parts:
            self.assertIn(str(part), done.stderr)

    def test_page_of_a_run(self):
        out = self.folder / "run"
        text = self.finish(self.config, "--out", out)
        self.assertIn(f"report {out / 'report.html'}\n", text)
        page = self.check_page(out / "report.html")
        for word in ("finished", "Loss", "Accuracy", "Learning rate", "Kept weights per layer", "cycle 2",
                     "Effect of each prune", "prune.sparsity", "--threads", "data fingerprint"):
            self.assertIn(word, page)
        # The numbers are those of the records.
        lines = common.json_lines((out / "metrics.jsonl").read_text())
        with (out / "report-data" / "loss.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([(float(row["epoch"]), float(row["cross-entropy"])) for row in rows
                          if row["series"] == "training"],
                         [(line["epoch"], line["train_loss"]) for line in lines])
        self.assertEqual([float(row["cross-entropy"]) for row in rows if row["series"] == "test"],
                         [line["test_loss"] for line in lines if line["test_loss"] is not None])
        # sculpt_report writes the same page, apart from its own name in the foot.
        before = (out / "report.html").read_text()
        self.assertEqual(sculpt_report(out).returncode, 0)
        self.assertEqual((out / "report.html").read_text().replace("sculpt_report 0", "sculpt_run 0"), before)

    def test_the_command_in_the_page_repeats_the_run(self):
        out = self.make_run()
        page = (out / "report.html").read_text()
        command = html.unescape(re.search(r"<code>(.*?sculpt_run .*?)</code>", page).group(1))
        done = subprocess.run(command.replace("sculpt_run", common.PROGRAM, 1), shell=True, check=False,
                              capture_output=True, text=True, timeout=common.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(common.final(self.folder / "run-again"), common.final(out))

    def test_no_report(self):
        out = self.folder / "run"
        self.assertNotIn("report", self.finish(self.config, "--out", out, "--no-report").splitlines()[-1])
        self.assertEqual(sorted(p.name for p in out.iterdir() if "report" in p.name), [])

    def test_page_while_the_run_trains_and_after_a_signal(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, *sets("train.epochs=400"))
        wait_for((out / "report.html").exists, process)
        self.assertIn(">running, epoch 1 of 1200<", self.check_page(out / "report.html", linked=False))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=common.TIMEOUT)
        self.assertEqual((process.returncode, "warning" in errors), (75, False), errors)
        page = self.check_page(out / "report.html")
        self.assertIn(">stopped, epoch ", page)
        self.assertIn("sculpt_run --resume ", page)

    def test_a_page_that_cannot_be_written_warns_once_and_ends_nothing(self):
        out = self.folder / "run"
        (out / "report.html" / "in the way").mkdir(parents=True)
        (out / "report.html" / "in the way" / "file").write_text("")
        done = sculpt_run(self.config, "--out", out)
        if done.returncode == 2:  # the folder is not empty: start in the folder of a run
            shutil.rmtree(out)
            self.interrupt(out, self.config)
            (out / "report.html").unlink()
            (out / "report.html" / "in the way").mkdir(parents=True)
            done = sculpt_run("--resume", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("warning: the report of this run is not up to date"), 1, done.stderr)
        self.assertTrue((out / "summary.json").exists())

    def test_a_kill_before_the_last_page(self):
        out = self.make_run()
        before = common.content_of(out)
        self.finish("--resume", out)  # nothing is to be done
        self.assertEqual(common.content_of(out), before)
        # A kill after the result and before the page leaves the page of an earlier epoch, and no numbers.
        shutil.rmtree(out / "report-data")
        (out / "report.html").write_text("an earlier epoch")
        os.utime(out / "report.html", (0, 0))
        self.finish("--resume", out)
        self.assertEqual(common.content_of(out), before)

    def test_restart_keeps_the_old_page(self):
        out = self.make_run()
        old = (out / "report.html").read_bytes()
        self.finish("--restart", out, *sets("seed=8"))
        self.assertEqual((out / "earlier-1" / "report.html").read_bytes(), old)
        self.assertTrue((out / "earlier-1" / "report-data" / "loss.csv").is_file())
        self.assertIn("seed 8", (out / "report.html").read_text())

    def test_page_of_several_runs(self):
        runs = self.folder / "runs"
        for seed in (1, 2):
            for sparsity in (0.5, 0.8):
                self.make_run(f"runs/pai-{sparsity}-{seed}", 'method="pai"', f"seed={seed}",
                              f"prune.sparsity={sparsity}", "train.epochs=3")
                self.make_run(f"runs/sculpt-{sparsity}-{seed}", f"seed={seed}", f"prune.sparsity={sparsity}",
                              "train.epochs=1", "prune.initial_sparsity=0.3")
        self.interrupt(runs / "unfinished", self.config)
        done = sculpt_report(runs)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("One run has stopped before its end: unfinished.", done.stderr)
        page = self.check_page(runs / "report.html")
        for word in ("8 of 9 runs finished", "Accuracy against sparsity", "Accuracy against training FLOPs",
                     "Accuracy against training time", "Settings that differ", "unfinished", "\u00b1"):
            self.assertIn(word, page)
        # Means and deviations are those of summary.json.
        with (runs / "report-data" / "accuracy-sparsity.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["spread"]]
        self.assertEqual(len(rows), 4)
        for row in rows:
            sparsity = {True: 0.5, False: 0.8}[float(row["kept weights (%)"]) > 30]
            name = row["series"].split(",")[0]
            values = [100 * json.loads((runs / f"{name}-{sparsity}-{seed}" / "summary.json").read_text())
                      ["test_accuracy"] for seed in (1, 2)]
            self.assertAlmostEqual(float(row["test accuracy (%)"]), sum(values) / 2, places=9)
            self.assertAlmostEqual(float(row["spread"]), abs(values[0] - values[1]) / 2 ** 0.5, places=9)
        # Other formats.
        figures, numbers, tex = (self.folder / name for name in ("figures", "numbers", "report.tex"))
        self.assertEqual(sculpt_report(runs, "--format", "svg", "--out", figures).returncode, 0)
        self.assertGreater(len(list(figures.glob("*.svg"))), 3)
        for path in figures.glob("*.svg"):
            root = ElementTree.parse(path).getroot()
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
            self.assertFalse(any("class" in element.attrib for element in root.iter()))
        self.assertEqual(sculpt_report(runs, "--format", "csv", "--out", numbers).returncode, 0)
        self.assertEqual((numbers / "accuracy-sparsity.csv").read_bytes(),
                         (runs / "report-data" / "accuracy-sparsity.csv").read_bytes())
        self.assertEqual(sculpt_report(runs, "--format", "latex", "--out", tex).returncode, 0)
        self.assertIn("\\begin{tikzpicture}", tex.read_text())

    def test_a_run_and_its_repeat_are_one_seed(self):
        run = self.make_run()
        again = self.make_run("run-again", "data.root=elsewhere", "execution.threads=2")
        numbers = self.folder / "numbers"

        def results():
            with (numbers / "results.csv").open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))

        words = (run, again, "--format", "csv", "--out", numbers)
        done = sculpt_report(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([(row["runs"], row["test accuracy (%), standard deviation"]) for row in results()], [("1", "")])
        said = "One run has the settings and the seed of another one, and does not count in means: run-again (repeats run"
        self.assertEqual(done.stderr.count(said), 1, done.stderr)
        self.assertEqual(sculpt_report(run, again, "--out", self.folder / "page.html").returncode, 0)
        self.assertIn(said, self.check_page(self.folder / "page.html"))
        # Another seed counts, and a result that differs is named.
        self.make_run("other", "seed=8")
        summary = json.loads((again / "summary.json").read_text())
        summary["test_accuracy"] += 0.125
        (again / "summary.json").write_text(json.dumps(summary))
        done = sculpt_report(*words, self.folder / "other")
        self.assertEqual([row["runs"] for row in results()], ["2"])
        self.assertIn("run-again (repeats run, with another result).", done.stderr)

    def test_names_that_look_like_markup(self):
        out = self.make_run("<b>&'x'\"y\"")
        page = self.check_page(out / "report.html")
        self.assertNotIn("<b>", page)
        self.assertIn("&lt;b&gt;&amp;&#39;x&#39;&quot;y&quot;", page.replace("<wbr>", ""))

    def test_damaged_folders(self):
        out = self.make_run()
        copy = self.folder / "copy"

        def damaged():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(out, copy)
            return copy

        metrics = damaged() / "metrics.jsonl"
        lines = metrics.read_text().splitlines(keepends=True)
        metrics.write_text(lines[0] + "{broken\n" + "".join(lines[2:]) + '{"half":')
        done = sculpt_report(copy)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("metrics.jsonl, line 2", self.check_page(copy / "report.html"))
        for said in (done.stderr, (copy / "report.html").read_text()):
            self.assertIn("line 2 is damaged and is left out, so the values of one epoch are missing", said)
        metrics.write_text("".join(lines[:-2]))
        done = sculpt_report(copy)
        for said in (done.stderr, (copy / "report.html").read_text()):
            self.assertIn(f"has no record of epochs {len(lines) - 1} to {len(lines)}, so curves lack them", said)
        for name in ("environment.json", "metrics.jsonl", "layers.jsonl", "prunes.jsonl"):
            (damaged() / name).unlink()
            self.assertEqual(sculpt_report(copy).returncode, 0, name)
            self.check_page(copy / "report.html")
        (damaged() / "config.toml").write_text("not = [toml")
        done = sculpt_report(copy)
        self.assertEqual(done.returncode, 0)
        page = self.check_page(copy / "report.html")
        for said in (done.stderr, page):
            self.assertIn(f"The settings of the run are missing: {copy / 'config.toml'}:1", said)
        self.assertIn("Method sculpt with resnet20", page)  # from summary.json
        self.assertNotIn("Repeats this run", page)
        (copy / "summary.json").write_text('{"format": "sculpt-summary-99"}')
        self.assert_report_fails(2, ["summary.json", "sculpt-summary-99", "newer"], copy)
        (damaged() / "analysis").mkdir()
        (copy / "analysis" / "bad.json").write_text("{")
        self.assertEqual(sculpt_report(copy).returncode, 0)
        self.assertIn("An analysis is left out", self.check_page(copy / "report.html"))
        # Of several runs, the others are shown.
        (damaged() / "summary.json").write_text('{"format": "sculpt-summary-99"}')
        done = sculpt_report(out, copy, "--out", self.folder / "both.html")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("A run is left out", self.check_page(self.folder / "both.html"))

    def test_wrong_arguments(self):
        self.assert_report_fails(2, ["there is no folder", "nowhere"], self.folder / "nowhere")
        self.assert_report_fails(2, ["there is no run in", "give a run folder"], self.folder)
        self.assert_report_fails(2, ["--format"], self.folder, "--format", "pdf")
        self.assert_report_fails(2, ["--watch"], self.folder, "--watch", "--tensorboard", "x")
        self.assertIn("Usage: sculpt_report", sculpt_report("--help").stdout)
        out = self.make_run()
        self.assert_report_fails(2, ["config.toml exists and is not a report"], out, "--out", out / "config.toml")
        full = self.folder / "page.html.sculpt-tmp"
        full.symlink_to("/dev/full")
        self.assert_report_fails(1, ["free some space, then give the command again"], out, "--out",
                                 self.folder / "page.html")
        (self.folder / "file").write_text("")
        self.assert_report_fails(1, [self.folder / "file"], out, "--out", self.folder / "file" / "page.html")

    def test_watch_in_a_log(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, *sets("train.epochs=6"))
        wait_for((out / "metrics.jsonl").exists, process)
        done = sculpt_report(out, "--watch")
        process.communicate(timeout=common.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        epochs = len((out / "metrics.jsonl").read_text().splitlines())
        lines = done.stdout.splitlines()
        self.assertEqual([line.split("  ")[0] for line in lines[:-1]],
                         [f"epoch {i}" for i in range(1, epochs + 1)])
        self.assertIn("the run has finished", lines[-1])
        self.assertNotIn("\033", done.stdout)

    def watch_on_terminal(self, out, **variables):
        controller, terminal = pty.openpty()
        process = subprocess.Popen([REPORT, out, "--watch"], stdout=terminal, stderr=terminal,
                                   env={**os.environ, "TERM": "xterm", **variables})
        os.close(terminal)
        text = b""
        while select.select([controller], [], [], common.TIMEOUT)[0]:
            try:
                part = os.read(controller, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            text += part
        self.assertEqual(process.wait(timeout=common.TIMEOUT), 0)
        os.close(controller)
        return text.decode()

    def test_watch_on_a_terminal(self):
        out = self.make_run()
        text = self.watch_on_terminal(out, LC_ALL="C.UTF-8")
        self.assertTrue(text.startswith("\033[?1049h"))  # the second screen, which is left in the end
        self.assertIn("\033[?25h\033[?1049l", text)
        self.assertIn("\033[34m", text)
        self.assertRegex(text, "[\u2801-\u28ff]")
        self.assertIn("the run has finished", text[text.index("\033[?1049l"):])
        self.assertNotIn("\033[2J", text)  # nothing is erased before it is drawn again
        plain = self.watch_on_terminal(out, LC_ALL="C", NO_COLOR="1")
        self.assertNotIn("\033[3", plain)
        self.assertTrue(plain.isascii())

    def test_event_files_are_opened_by_tensorboard(self):
        out = self.make_run()
        events = self.folder / "events"
        done = sculpt_report(out, "--tensorboard", events)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([p.relative_to(events).as_posix() for p in events.rglob("*") if p.is_file()],
                         ["run/events.out.tfevents.0000000000.sculpt"])
        if subprocess.run([TENSORBOARD_PYTHON, "-c", "import tensorboard"], capture_output=True,
                          check=False).returncode:
            self.skipTest("tensorboard is not installed; SCULPT_TENSORBOARD_PYTHON names a Python that has it")
        script = """if True:
            import json, sys
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
            events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
            events.Reload()
            print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)]
                              for tag in events.Tags()["scalars"]}))"""
        read = subprocess.run([TENSORBOARD_PYTHON, "-c", script, events / "run"], capture_output=True, text=True,
                              check=True).stdout
        scalars = json.loads(read.splitlines()[-1])
        keys = {"loss/train": "train_loss", "loss/test": "test_loss", "accuracy/train": "train_accuracy",
                "accuracy/test": "test_accuracy", "training/lr": "lr", "training/density": "density",
                "training/images_per_second": "images_per_second"}
        self.assertEqual(set(scalars), set(keys))
        lines = common.json_lines((out / "metrics.jsonl").read_text())
        for tag, key in keys.items():
            expected = [(line["epoch"], line[key]) for line in lines if line[key] is not None]
            self.assertEqual([step for step, _ in scalars[tag]], [step for step, _ in expected])
            for (_, value), (_, wanted) in zip(scalars[tag], expected):
                self.assertLessEqual(abs(value - wanted), 1e-6 * abs(wanted))  # 32-bit floats

    def test_page_of_a_study(self):
        program = Path(common.PROGRAM).with_name("sculpt_study")
        if not program.exists():
            self.skipTest("sculpt_study is not built")
        file = self.write("two.toml", """
title = "Two <methods>"
base = "tiny.toml"
analyze = ["prunes"]
[set]
train.epochs = 1
[vary]
seed = [1, 2]
[variant.sculpt]
label = "SCULPT"
[variant.cyclic]
method = "cyclic"
[[figure]]
name = "by-method"
x = "method"
[[figure]]
name = "cost"
title = "Cost by sparsity"
x = "prune.sparsity"
y = "train_flops_vs_dense"
""")
        out = self.folder / "study"
        done = subprocess.run([program, file, "--out", out], capture_output=True, text=True, check=False,
                              timeout=common.TIMEOUT, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(sculpt_report(out).returncode, 0)
        page = self.check_page(out / "report.html")
        for word in ("Two &lt;methods&gt;", "SCULPT", "cyclic", "Cost by sparsity", "001-sculpt-s1",
                     f"sculpt_study {file}"):
            self.assertIn(word, page)
        self.assertIn('<a href="003-cyclic-s1/report.html">003-cyclic-s1</a>', page)
        self.assertEqual(sculpt_report(out, "--out", self.folder / "away" / "page.html").returncode, 0)
        self.assertNotIn("003-cyclic-s1/report.html", self.check_page(self.folder / "away" / "page.html"))
        with (out / "report-data" / "cost.csv").open(newline="", encoding="utf-8") as rows:
            means = {row["series"]: row for row in csv.DictReader(rows) if row["spread"]}
        self.assertEqual(set(means), {"SCULPT", "cyclic"})
        for name, folders in (("SCULPT", ("001-sculpt-s1", "002-sculpt-s2")),
                              ("cyclic", ("003-cyclic-s1", "004-cyclic-s2"))):
            costs = [json.loads((out / folder / "summary.json").read_text())["train_flops_vs_dense"]
                     for folder in folders]
            self.assertAlmostEqual(float(means[name]["training FLOPs (one dense cycle = 1)"]), sum(costs) / 2,
                                   places=9)
        # An axis of names has each name, with means and error bars.
        with (out / "report-data" / "by-method.csv").open(newline="", encoding="utf-8") as rows:
            places = [row["method"] for row in csv.DictReader(rows) if row["spread"]]
        self.assertEqual(places, ["sculpt", "cyclic"])
        drawing = re.search(r'<figure id="by-method">.*?</svg>', page, re.DOTALL).group()
        self.assertIn(">sculpt</text>", drawing)
        self.assertIn("V", drawing)
        # An analysis that the study asks for and that has failed is named.
        self.assertNotIn("The analysis", page)
        analysis = out / "003-cyclic-s1" / "analysis"
        (analysis / "prunes.json").unlink()
        (analysis / "commands.txt").unlink()
        (out / "logs" / "003-cyclic-s1.failed").write_text(
            "error: no room\nthe analysis `prunes` ended with exit code 1\n")
        done = sculpt_report(out)
        for said in (done.stderr, (out / "report.html").read_text()):
            self.assertRegex(said, "The analysis .prunes. of the run 003-cyclic-s1 is missing, because it has "
                             r"failed \(ended with exit code 1: error: no room\)")
        # A run of a newer program is named, and the page is made of the others.
        summary = out / "002-sculpt-s2" / "summary.json"
        before = summary.read_text()
        summary.write_text(before.replace("sculpt-summary-1", "sculpt-summary-99"))
        done = sculpt_report(out)
        self.assertEqual(done.returncode, 0, done.stderr)
        page = self.check_page(out / "report.html")
        for said in (done.stderr, page):
            self.assertIn(f"The run 002-sculpt-s2 is left out: {summary} has the format sculpt-summary-99", said)
        self.assertIn("3 of 4 runs finished", page)
        self.assertIn("003-cyclic-s1", page)
        summary.write_text(before)
        # Runs that have not been started, and those that have failed, are named.
        shutil.rmtree(out / "004-cyclic-s2")
        done = sculpt_report(out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("One run has not been started: 004-cyclic-s2.", done.stderr)


if __name__ == "__main__":
    if not Path(REPORT).exists():
        sys.exit(f"error: {REPORT} is not built; set SCULPT_REPORT")
    main()

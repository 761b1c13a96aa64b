"""sculpt_study: a study is run, killed, resumed, shared out and compared."""
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import time
from pathlib import Path

from common import PROGRAM, ROOT, TIMEOUT, close_its_output, final, records, wait_for
from study_common import STUDY, NAMES, StudyTest, study, start_study, children_of, starts, run_study_tests

SEED = 20261129
# CI runs a sample. tools/long_tests study-kills runs more.
KILLS = int(os.environ.get("SCULPT_STUDY_KILLS", "3"))


class Study(StudyTest):
    def test_a_study_is_run_listed_and_compared(self):
        done = self.run_study()
        self.assertIn("4 of 4 runs", done.stdout.replace("finished", "").replace("  ", " "))
        for name in NAMES:
            self.assertTrue((self.out / name / "summary.json").exists())
            self.assertIn("threads = 1\n", (self.out / name / "config.toml").read_text())
        before = starts(self.out)
        self.assertEqual(before, dict.fromkeys(NAMES, 1))
        self.run_study()
        self.assertEqual(starts(self.out), before, "finished runs are not run again")
        # The folder is enough to go on.
        self.assertEqual(study(self.out).returncode, 0)
        self.assertEqual(starts(self.out), before)

        listed = self.run_study("--list").stdout
        for number, name in enumerate(NAMES, 1):
            self.assertRegex(listed, rf"(?m)^ *{number}  {name} +finished")

        groups = study("ls", self.out).stdout
        self.assertRegex(groups, r"(?m)^sculpt +sculpt +2 .* ± .* %")
        self.assertRegex(groups, r"(?m)^cyclic +cyclic +2 ")
        one = study("ls", self.out, "--where", "method=cyclic", "--where", "seed>1", "--runs").stdout
        self.assertIn(NAMES[3], one)
        for name in NAMES[:3]:
            self.assertNotIn(name, one)
        by_seed = study("ls", "--by", "seed", "--columns", "train_flops", self.out).stdout
        self.assertRegex(by_seed, r"(?m)^1 +2 ")
        wrong = study("ls", self.out, "--sort", "test_acuracy")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn('did you mean "test_accuracy"?', wrong.stderr)

        # The same runs in another study are no further seeds.
        self.run_study(out=self.folder / "again")
        twice = study("ls", self.out, self.folder / "again")
        self.assertEqual(twice.stdout, groups)
        self.assertEqual(twice.stderr.count("4 runs have the settings and the seed of another one"), 1, twice.stderr)
        self.assertIn(f"{self.folder / 'again' / NAMES[0]} (repeats {self.out / NAMES[0]}", twice.stderr)

        differs = study("diff", self.out / NAMES[0], self.out / NAMES[2]).stdout
        self.assertRegex(differs, r"(?m)^method +sculpt +cyclic$")
        self.assertNotIn("optim.lr", differs)
        self.assertIn("train_flops", differs)

    def test_the_index_is_made_from_the_folders(self):
        self.run_study("--set", "vary.seed=[1]", "--set", "method=cyclic", "--set", "vary.variant=[\"sculpt\"]")
        name = "001-sculpt-s1"
        done = study("index", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        with sqlite3.connect(self.out / "index.sqlite") as index:
            rows = index.execute("SELECT folder, status, method, seed FROM runs").fetchall()
            self.assertEqual(rows, [(name, "finished", "cyclic", 1)])
            flops = index.execute("SELECT value FROM results WHERE key = 'train_flops'").fetchone()[0]
        self.assertGreater(flops, 1e6)
        (self.out / "index.sqlite").write_bytes(b"noise")
        self.assertIn("cyclic", study("ls", self.out, "--runs", "--columns", "method").stdout)
        with sqlite3.connect(self.out / "index.sqlite") as index:
            self.assertEqual(len(index.execute("SELECT * FROM runs").fetchall()), 1)

    def test_a_dry_run_prints_the_cost_and_makes_nothing(self):
        text = self.run_study("--dry-run", "--jobs", 2).stdout
        for name in NAMES:
            self.assertIn(name, text)
        self.assertRegex(text, r"(?m)^ +total +\d+ +[\d.]+ [MGT] ")
        self.assertIn("With 2 runs at a time", text)
        # The steps of this network take milliseconds. 20 epochs in 4 runs take a second and more besides them.
        text = self.run_study("--dry-run", "--set", "model.name=mlp").stdout
        seconds = float(re.search(r"(?m)^ +total .* ([\d.]+)s$", text).group(1))
        self.assertGreater(seconds, 1.1)
        self.assertFalse(self.out.exists())

    def test_one_run_by_its_number(self):
        self.run_study("--index", 3)
        self.assertEqual(list(starts(self.out)), [NAMES[2]])
        listed = self.run_study("--list").stdout
        self.assertIn(f"{NAMES[2]}  finished", listed)
        self.assertIn(f"{NAMES[0]}  waiting", listed)

    def test_a_failed_run_is_reported_last_and_the_others_go_on(self):
        program = self.write("failing", f"""#!/bin/sh
case "$*" in *{NAMES[1]}*) echo "error: the disk is gone" >&2; exit 1;; esac
exec {PROGRAM} "$@"
""")
        program.chmod(0o755)
        done = self.run_study("--program", program, "--jobs", 1, code=1)
        self.assertIn("error: the disk is gone", done.stderr)
        self.assertRegex(done.stderr.strip().splitlines()[-1], "1 of 4 runs failed")
        for name in NAMES:
            self.assertEqual((self.out / name / "summary.json").exists(), name != NAMES[1])
        self.assertIn(f"{NAMES[1]}  failed", self.run_study("--list").stdout)
        # The excerpt is of the last attempt alone.
        program.write_text(program.read_text().replace("the disk is gone", "the disk is still gone"))
        done = self.run_study("--program", program, code=1)
        self.assertIn("error: the disk is still gone", done.stderr)
        self.assertNotIn("error: the disk is gone", done.stderr)
        self.run_study()
        self.assertIn(f"{NAMES[1]}  finished", self.run_study("--list").stdout)

    def test_a_signal_saves_and_the_same_command_goes_on(self):
        for sent in (signal.SIGTERM, signal.SIGINT):
            words = [self.file, "--out", self.out, "--set", "train.epochs=40",
                     "--set", "train.checkpoint_steps=1", "--jobs", "2"]
            process = start_study(*words)
            wait_for(lambda: len(children_of(self.out)) == 2 and len(list(self.out.glob("*/metrics.jsonl"))) >= 2,
                     process)
            process.send_signal(sent)
            text, errors = process.communicate(timeout=TIMEOUT)
            self.assertEqual(process.returncode, 75, text + errors)
            self.assertIn("go on with", text)
            self.assertEqual(children_of(self.out), [])
            states = list(self.out.glob("*/checkpoints/state-*.safetensors"))
            self.assertTrue(states)

    def test_a_study_killed_at_random_moments_ends_with_the_same_bytes(self):
        print(f"seed {SEED}")
        draw = random.Random(SEED)
        whole = self.folder / "whole"
        settings = ["--set", "train.epochs=6", "--set", "train.checkpoint_steps=2", "--jobs", 2]
        begin = time.monotonic()
        self.run_study(*settings, out=whole)
        duration = time.monotonic() - begin
        killed, moment = 0, 0
        out = self.folder / "killed-0"
        while killed < KILLS:
            process = start_study(self.file, "--out", out, *map(str, settings))
            time.sleep(draw.uniform(0.05, 0.95) * duration)
            # In every second kill the runs are killed, too. Otherwise they are told to save.
            runs = children_of(out) if draw.random() < 0.5 else []
            for victim in (process.pid, *runs):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            process.communicate(timeout=TIMEOUT)
            hit = process.returncode == -signal.SIGKILL
            killed += hit
            done = len(list(out.glob("*/summary.json")))
            print(f"kill {killed}: {done} of {len(NAMES)} runs had finished, {len(runs)} runs were killed, too"
                  if hit else "too late")
            if hit and draw.random() < 0.5 and killed < KILLS:
                continue  # the next kill hits the resumed study
            self.run_study(*settings, out=out)
            for name in NAMES:
                with self.subTest(kill=killed, run=name):
                    self.assertTrue(final(out / name) == final(whole / name), "final.safetensors differs")
                    self.assertEqual(records(out / name / "metrics.jsonl"),
                                     records(whole / name / "metrics.jsonl"))
            self.assertEqual(children_of(out), [])
            moment += 1
            out = self.folder / f"killed-{moment}"

    def test_runs_of_a_killed_study_end(self):
        process = start_study(self.file, "--out", self.out, "--set", "train.epochs=2000", "--jobs", "2")
        wait_for(lambda: len(list(self.out.glob("*/metrics.jsonl"))) >= 2, process)
        self.assertEqual(len(children_of(self.out)), 2)
        process.kill()
        process.communicate(timeout=TIMEOUT)
        end = time.monotonic() + 60
        while children_of(self.out) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(children_of(self.out), [])

    def test_two_studies_at_work_in_one_folder_share_the_runs(self):
        alone = self.folder / "alone"
        self.run_study(out=alone)
        words = [self.file, "--out", self.out, "--jobs", "1"]
        both = [start_study(*words), start_study(*words)]
        for process in both:
            text, errors = process.communicate(timeout=TIMEOUT)
            self.assertEqual(process.returncode, 0, text + errors)
        for name in NAMES:
            self.assertTrue(final(self.out / name) == final(alone / name))

    def test_studies_share_a_pool(self):
        pool = self.folder / "pool"
        self.run_study("--pool", pool)
        folders = sorted(pool.iterdir())
        self.assertEqual(len(folders), 4)
        for name in NAMES:
            link = self.out / name
            self.assertTrue(link.is_symlink())
            self.assertFalse(Path(os.readlink(link)).is_absolute())
        # Another study wants two of these runs, in another order, and a new one.
        self.file = self.write("more.toml", """
base = "tiny.toml"
[set]
method = "cyclic"
[vary]
seed = [3, 2, 1]
""")
        other = self.folder / "other"
        before = {folder: (folder / "summary.json").stat().st_mtime_ns for folder in folders}
        self.run_study("--pool", pool, out=other)
        self.assertEqual(len(list(pool.iterdir())), 5)
        self.assertEqual(list(starts(other)), ["001-s3"])
        for folder in folders:
            self.assertEqual((folder / "summary.json").stat().st_mtime_ns, before[folder])
        self.assertTrue((other / "002-s2").samefile(self.out / "004-cyclic-s2"))
        # Another number of threads makes other bits, so it is another run.
        self.run_study("--pool", pool, "--set", "execution.threads=2", "--set", "vary.seed=[3]",
                       out=self.folder / "threads")
        self.assertEqual(len(list(pool.iterdir())), 6)
        # Both names lead to one run in a table of the pool and the studies, and seed 3 is one seed.
        self.assertRegex(study("ls", self.out, other, "--by", "method").stdout, r"(?m)^cyclic +3 ")
        listed = study("ls", pool, self.out, other, "--by", "method")
        self.assertRegex(listed.stdout, r"(?m)^cyclic +3 ")
        self.assertIn("One run has the settings and the seed of another one", listed.stderr)

    def test_runs_of_a_pool_that_a_changed_study_leaves_out_are_named(self):
        pool = self.folder / "pool"
        self.run_study("--pool", pool)
        more = self.run_study("--pool", pool, "--set", "vary.seed=[2, 1]")
        self.assertNotIn("leaves out", more.stderr)
        fewer = self.run_study("--pool", pool, "--set", "vary.seed=[2]")
        self.assertRegex(fewer.stderr, r"leaves out 2 runs that it had before: \S+-s1, \S+-s1; their results stay in")
        self.assertEqual(len(list(pool.iterdir())), 4)
        self.assertNotIn("leaves out", self.run_study("--pool", pool, "--set", "vary.seed=[2]").stderr)

    def test_a_run_that_two_variants_share_is_listed_under_both(self):
        self.file = self.write("shared.toml", STUDY + '[variant.again]\nmethod = "cyclic"\n')
        pool = self.folder / "pool"
        self.run_study("--pool", pool)
        self.assertEqual(len(list(pool.iterdir())), 4)
        groups = study("ls", self.out).stdout
        for variant in ("sculpt", "cyclic", "again"):
            self.assertRegex(groups, rf"(?m)^{variant} +\w+ +2 ")
        self.assertRegex(study("ls", self.out, "--by", "method").stdout, r"(?m)^cyclic +2 ")
        self.assertEqual(len(study("ls", self.out, "--runs").stdout.splitlines()), 1 + 6)

    def test_tables_keep_to_a_width_that_somebody_asks_for(self):
        self.run_study("--set", "vary.seed=[1]")
        whole = study("ls", self.out, "--runs").stdout
        self.assertIn(str(self.out / "001-sculpt-s1"), whole)
        self.assertIn("train_flops ", whole)
        widest = max(map(len, whole.splitlines()))
        for columns in (widest - 5, widest):
            text = study("ls", self.out, "--runs", env=dict(os.environ, COLUMNS=str(columns))).stdout
            self.assertLessEqual(max(map(len, text.splitlines())), columns)
            self.assertEqual(text == whole, columns == widest)

    def test_a_closed_pipe_stops_a_study_like_a_signal(self):
        process = start_study(self.file, "--out", self.out, "--set", "train.epochs=100", "--jobs", "1")
        errors = close_its_output(process)
        self.assertEqual(process.returncode, 75, errors)
        self.assertNotIn("error: ", errors)
        self.assertEqual(children_of(self.out), [])

    def test_a_changed_study_keeps_its_runs(self):
        self.run_study()
        kept = final(self.out / NAMES[2])
        self.write("two.toml", STUDY.replace("[1, 2]", "[1, 2, 3]"))
        self.run_study()
        self.assertFalse((self.out / NAMES[2]).exists())
        self.assertTrue(final(self.out / "004-cyclic-s1") == kept)
        # The page of a run has the name that its folder has now, and its command names this folder.
        page = (self.out / "004-cyclic-s1" / "report.html").read_text()
        self.assertIn("<title>004-cyclic-s1</title>", page)
        self.assertIn(f"--out {self.out / '004-cyclic-s1-again'}", page)
        self.assertNotIn(NAMES[2], page.replace("<wbr>", ""))
        untouched = (self.out / NAMES[0] / "report.html").read_text()
        self.assertIn("Written by sculpt_run", untouched)  # its folder has kept its name
        self.assertNotIn("004-cyclic-s1", starts(self.out))
        # Fewer seeds leave runs out, and a line names them.
        self.write("two.toml", STUDY.replace("[1, 2]", "[1]"))
        narrowed = self.run_study()
        self.assertRegex(narrowed.stderr, r"leaves out 4 runs that it had before: 00\d-.* and 1 more; they stay in")
        # A run with other settings under the same name is refused.
        done = self.run_study("--set", "optim.lr=0.05", code=2)
        self.assertIn("holds a run with other settings (optim.lr)", done.stderr)

    def test_finished_runs_are_analysed_once(self):
        analyses = 'analyze = ["flips", "prunes"]\n'
        self.file = self.write("analysed.toml", analyses + STUDY + '[set]\ntrain.keep = "cycles"\n')
        self.run_study()
        for name in NAMES:
            analyses = self.out / name / "analysis"
            self.assertEqual((analyses / "commands.txt").read_text(), "flips\nprunes\n")
            self.assertIn("flipped.mean", json.loads((analyses / "flips.json").read_text())["values"])
            page = (self.out / name / "report.html").read_text()
            self.assertIn("Repeats this analysis", page)
            self.assertIn('id="prunes-', page)
            self.assertTrue(list((self.out / name / "report-data").glob("flips-*.csv")))
        before = starts(self.out)
        self.run_study()
        self.assertEqual(starts(self.out), before)
        # A study that asks for one more analysis trains nothing again.
        self.file.write_text(self.file.read_text().replace('"prunes"', '"prunes", "hessian --images 64 --top 1"'))
        weights = final(self.out / NAMES[0])
        self.run_study()
        self.assertEqual(final(self.out / NAMES[0]), weights)
        self.assertTrue((self.out / NAMES[3] / "analysis" / "hessian.json").exists())
        self.assertIn("--images 64 --top 1", (self.out / NAMES[3] / "report.html").read_text())

    def test_a_renamed_run_keeps_its_analyses(self):
        text = 'analyze = ["prunes"]\n' + STUDY
        self.file = self.write("analysed.toml", text)
        self.run_study()
        old, new = NAMES[3], "003-cyclic-s2"
        values = json.loads((self.out / old / "analysis" / "prunes.json").read_text())
        self.file.write_text(text.replace('"cyclic"', '"cyclic"\nseed = 2'))
        self.run_study()
        self.assertFalse((self.out / old).exists())
        now = json.loads((self.out / new / "analysis" / "prunes.json").read_text())
        self.assertIn(str(self.out / new), now["command"])
        self.assertEqual({**now, "command": 0}, {**values, "command": 0})
        page = (self.out / new / "report.html").read_text().replace("<wbr>", "")
        self.assertIn(f"sculpt_analyze prunes {self.out / new}", page)
        self.assertNotIn(old, page)
        self.assertEqual(starts(self.out)[old], 2)  # training and analysis; nothing was done again
        self.assertNotIn(new, starts(self.out))

    def test_an_analysis_that_fails_is_reported_last(self):
        wrong = "connectivity --between 1 77"
        self.file = self.write("analysed.toml", f'analyze = ["{wrong}", "prunes"]\n' + STUDY
                               + '[set]\ntrain.keep = "cycles"\n')
        done = self.run_study(code=1)
        self.assertIn("77", done.stderr)
        self.assertIn(f"the analysis `{wrong}` ended with exit code 2", done.stderr)
        for name in NAMES:
            self.assertTrue((self.out / name / "summary.json").exists(), name)
            # The analyses behind the failed one are made.
            self.assertEqual((self.out / name / "analysis" / "commands.txt").read_text(), "prunes\n")
        listed = study("ls", self.out)
        self.assertEqual(listed.returncode, 0)
        self.assertIn(f"the analysis `{wrong}` has failed in {NAMES[0]} and 3 more", listed.stderr)
        self.assertNotIn("prunes", listed.stderr)

    def test_every_study_of_the_project_can_be_planned(self):
        for path in sorted((ROOT / "configs" / "studies").glob("*.toml")):
            if path.name == "common.toml":
                continue
            text = path.read_text()
            for size in re.findall(r"^\[size\.([\w-]+)\]$", text, re.M) or [None]:
                with self.subTest(study=path.name, size=size):
                    chosen = ("--size", size) if size else ()
                    done = study(path, *chosen, "--list", "--out", self.folder / "listed")
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_run_may_load_from_another_run(self):
        self.file = self.write("masks.toml", """
base = "tiny.toml"
[vary]
seed = [1, 2]
[variant.transplant]
method = "custom"
plan = ["load mask from {run:sculpt}", "train 2"]
[variant.sculpt]
""")
        done = self.run_study("--index", 1, code=2)
        self.assertIn("run 1 loads from run 003-sculpt-s1, which has not finished; run 3 first", done.stderr)
        self.run_study("--jobs", 2)
        for name in ("001-transplant-s1", "002-transplant-s2", "003-sculpt-s1", "004-sculpt-s2"):
            self.assertTrue((self.out / name / "summary.json").exists())
        self.assertIn("003-sculpt-s1", (self.out / "001-transplant-s1" / "config.toml").read_text())

    def test_the_example_of_the_documentation(self):
        page = (ROOT / "docs" / "studies.md").read_text()
        text = page.split("```toml\n")[1].split("```")[0]
        for name in ("cpu", "studies"):
            (self.folder / name).mkdir()
        (self.folder / "cpu" / "lrr.toml").write_text((ROOT / "configs" / "cpu" / "lrr.toml").read_text())
        self.file = self.write("studies/C1.toml", text)
        listed = self.run_study("--list").stdout
        self.assertIn("12  012-cyclic-sparsity0.95-s3", listed)
        self.assertIn("1  001-lrr-sparsity0.9-s1", listed)
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    run_study_tests()

"""Run folders: one run at a time, names, --resume and --restart, damaged results, extensions."""
import json
import os
import shutil
import signal
import time

from common import TIMEOUT, TINY, ProgramTest, final, main, records, sculpt_run, start, states, wait_for

# These settings extend a finished run of the tiny config.
LONGER = ["--set", "cycles.final=2"]
# A run with these settings is still at work when the test ends.
LONG = ["--set", "train.epochs=100000"]


class Locks(ProgramTest):
    def running(self, out, *words):
        process = start(self.config, "--out", out, *LONG, *words)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        wait_for(lambda: (out / "layers.jsonl").exists(), process)
        self.assertIsNone(process.poll())
        return process

    def test_a_second_run_is_refused_and_changes_nothing(self):
        out = self.folder / "run"
        process = self.running(out)
        lock = json.loads((out / "run.lock").read_text())
        self.assertEqual(lock["pid"], process.pid)
        config = (out / "config.toml").read_text()
        for words in ([self.config, "--out", out], [self.config, "--out", out, "--resume"],
                      ["--resume", out], ["--restart", out]):
            with self.subTest(words):
                self.assert_fails(2, [out, f"in use by process {process.pid} on {lock['host']}",
                                      "started " + lock["started"], "--out"], *words)
        self.assertEqual((out / "config.toml").read_text(), config)
        # A command that does not write into the folder needs no lock.
        self.finish(self.config, "--out", out, "--plan")
        self.finish(out, "--describe")
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75)
        self.assertFalse((out / "run.lock").exists())

    def test_the_lock_of_a_killed_run_is_taken_over(self):
        out = self.folder / "run"
        process = self.running(out)
        process.kill()  # not waited for: the process table still has it
        while self.alive(process.pid):
            time.sleep(0.005)
        before = states(out)
        second = start("--resume", out)
        wait_for(lambda: states(out)[-1:] > before[-1:], second)
        self.assertIsNone(second.poll())
        self.assertEqual(json.loads((out / "run.lock").read_text())["pid"], second.pid)
        second.send_signal(signal.SIGTERM)
        text, errors = second.communicate(timeout=TIMEOUT)
        self.assertEqual(second.returncode, 75, text + errors)
        self.assertIn(f"process {process.pid}", text)
        self.assertEqual(list(out.glob("run.lock*")), [])

    @staticmethod
    def alive(pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"

    def test_a_run_on_another_host(self):
        out = self.folder / "run"
        dead = self.running(out)
        dead.kill()
        dead.wait()
        path = out / "run.lock"
        lock = json.loads(path.read_text())
        lock.update(host="node17", machine="another")
        path.write_text(json.dumps(lock))
        self.assert_fails(2, ["on node17", "gave a sign of life", "will be free in"], "--resume", out)
        now = path.stat().st_mtime
        os.utime(path, (now, now - 200))
        process = start("--resume", out)
        wait_for(lambda: str(process.pid) in path.read_text(), process)
        self.assertIsNone(process.poll())

        # The other run wakes up and takes the folder back by force. This run then stops writing.
        # It moves a complete file there, because this run may look at any moment.
        complete = out / "complete"
        complete.write_text(json.dumps(lock))
        complete.rename(path)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1, text + errors)
        self.assertIn("taken over by process", errors)
        self.assertEqual(json.loads(path.read_text())["host"], "node17")

    def test_many_at_one_moment(self):
        """If several processes start at once in one folder, exactly one of them runs."""
        for attempt in range(4):
            out = self.folder / f"run-{attempt}"
            if attempt % 2:  # with a stale lock
                dead = self.running(out)
                dead.kill()
                dead.wait()
            words = ["--resume"] if attempt % 2 else []
            processes = [start(self.config, "--out", out, *LONG, *words) for _ in range(5)]
            ended = lambda: [p for p in processes if p.poll() is not None]
            end = time.monotonic() + TIMEOUT
            while len(ended()) < 4 and time.monotonic() < end:
                time.sleep(0.01)
            winner = [p for p in processes if p.poll() is None]
            self.assertEqual(len(winner), 1)
            for process in ended():
                _, errors = process.communicate(timeout=TIMEOUT)
                self.assertEqual(process.returncode, 2, errors)
                self.assertIn("in use by process", errors)
            self.assertIn(str(winner[0].pid), (out / "run.lock").read_text())
            winner[0].kill()
            winner[0].communicate(timeout=TIMEOUT)

    def test_a_copy_of_a_live_folder(self):
        out, copy = self.folder / "run", self.folder / "copy"
        process = self.running(out)
        shutil.copytree(out, copy)
        self.assert_fails(2, [f"in use by process {process.pid}", f"works in {out.resolve()}",
                              f"remove the copied lock, {copy / 'run.lock'}"], "--resume", copy)
        (copy / "run.lock").unlink()  # the advice, followed
        second = start("--resume", copy)
        self.addCleanup(second.communicate)
        self.addCleanup(second.kill)
        wait_for((copy / "run.lock").exists, second)
        self.assertIsNone(second.poll())
        self.assertIsNone(process.poll())

    def test_something_else_in_the_place_of_the_lock(self):
        out = self.folder / "run"
        (out / "run.lock").mkdir(parents=True)
        self.assert_fails(2, [f"{out / 'run.lock'} is a folder", "move it away", "--out"],
                          self.config, "--out", out)
        self.assertEqual([p.name for p in out.iterdir()], ["run.lock"])

    def test_an_error_before_the_run_leaves_no_folder(self):
        self.assert_fails(2, ["get_data"], self.config, "--set", "data.name=cifar10", "--set",
                          f"data.root={self.folder}/none", "--out", self.folder / "a" / "b")
        self.assertFalse((self.folder / "a").exists())


class Names(ProgramTest):
    def test_each_value_of_a_setting_gets_a_folder(self):
        processes = [start(self.config, "--set", f"optim.lr={lr}", "--set", "cycles.count=1",
                           "--set", "data.root=x", cwd=self.folder) for lr in ("0.1", "0.3")]
        processes.append(start(self.config, "--set", "seed=8", "--set", "prune.sparsity=0.95",
                               "--set", "model.name=lenet", "--set", "model.width=1.0",
                               cwd=self.folder))
        for process in processes:
            _, errors = process.communicate(timeout=TIMEOUT)
            self.assertEqual(process.returncode, 0, errors)
        stem = f"{self.folder.name}-tiny"
        # 0.1 is the value in the file, and data.root does not change the result.
        self.assertEqual(sorted(p.name for p in (self.folder / "runs").iterdir()),
                         sorted([f"{stem}-sculpt-count1-s7", f"{stem}-sculpt-count1-lr0.3-s7",
                                 f"{stem}-sculpt-lenet-width1.0-sparsity0.95-s8"]))

    def test_method_and_machine(self):
        """The name has the method of the run, and the given settings that change the result."""
        (self.folder / "imp").mkdir()
        imp = TINY.replace('"sculpt"', '"imp"').replace("epochs = 2", "epochs = 1").replace(
            "sparsity = 0.8", "sparsity = 0.2")
        config = self.write("imp/imp-small.toml", imp)
        simple = self.write("imp/simple.toml", imp)
        isa = {**os.environ, "SCULPT_CPU_ISA": "portable"}
        cases = {
            "imp-imp-small-s7": ([config], None),
            "imp-pai-from-imp-small-s7": ([config, "--set", "method=pai"], None),
            "imp-simple-imp-s7": ([simple], None),
            "imp-simple-pai-lr0.3-s7": ([simple, "--set", "optim.lr=0.3", "--set", "method=pai"],
                                        None),
            "imp-imp-small-threads1-s7": ([config, "--threads", "1"], None),
            "imp-imp-small-cpu-s7": ([config, "--device", "cpu"], None),
            "imp-imp-small-conv-auto-s7": ([config, "--conv", "auto"], None),
            "imp-imp-small-portable-s7": ([config], isa),
        }
        for words, env in cases.values():
            done = sculpt_run(*words, cwd=self.folder, env=env)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(p.name for p in (self.folder / "runs").iterdir()), sorted(cases))

    def test_long_and_strange_values(self):
        plans = [["train 1", f"prune magnitude global {d}", "train 1"] for d in (0.5, 0.25)]
        for plan in plans:
            done = sculpt_run(self.config, "--set", "method=custom", "--set",
                              f"plan={json.dumps(plan)}", cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
        names = sorted(p.name for p in (self.folder / "runs").iterdir())
        self.assertEqual(len(names), 2)
        for name in names:
            self.assertRegex(name, r"^[A-Za-z0-9._+-]+-custom-plan[A-Za-z0-9-]+-s7$")
            self.assertLess(len(name), 100)


class Resume(ProgramTest):
    def test_folders(self):
        out = self.folder / "run"
        text = self.finish(self.config, "--out", out, "--resume")  # nothing there: starts
        self.assertIn(f"there is no run in {out} yet", text)
        before = final(out)
        self.assert_fails(2, [out, "--resume", "--restart", "--out"], self.config, "--out", out)
        self.assertIn("finished", self.finish(self.config, "--out", out, "--resume"))
        self.assert_fails(2, [out, "optim.lr: 0.1 in the folder, 0.3 now"], self.config, "--out",
                          out, "--resume", "--set", "optim.lr=0.3")
        self.assertEqual(final(out), before)
        busy = self.folder / "busy"
        busy.mkdir()
        (busy / "thesis.tmp").write_text("precious")
        self.assert_fails(2, [busy, "not a run folder"], self.config, "--out", busy)
        self.assert_fails(2, [busy, "not a run folder"], self.config, "--out", busy, "--resume")
        self.assert_fails(2, [busy, "not a run folder"], self.config, "--out", busy, "--restart")
        self.assertEqual([p.name for p in busy.iterdir()], ["thesis.tmp"])
        empty = self.folder / "empty"
        empty.mkdir()
        self.finish(self.config, "--out", empty, "--resume")
        self.assertEqual(final(empty), before)

    def test_a_folder_is_all_that_resume_needs(self):
        whole, out = self.folder / "whole", self.folder / "run"
        words = [self.config, "--set", "optim.lr=0.05"]
        self.finish(*words, "--out", whole)
        process = start(*words, "--out", out)
        wait_for(lambda: (out / "layers.jsonl").exists(), process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75)
        self.config.unlink()
        self.assert_fails(2, [out, "--resume"], out)
        self.assert_fails(2, [out, "--out"], out, "--resume", "--out", whole)
        self.assert_fails(2, ["optim.lr: 0.05 in the folder, 0.1 now"], out, "--resume", "--set",
                          "optim.lr=0.1")
        self.assertIn("total", self.finish(out, "--plan"))
        self.finish(out, "--resume", "--set", "train.checkpoint_every=2")
        self.assertEqual(final(out), final(whole))
        self.assertIn("finished", self.finish("--resume", out))
        self.assert_fails(2, ["no run folder", f'did you mean "{out}"?', "--out"], "--resume",
                          self.folder / "runn")
        nothing = self.folder / "nothing"
        nothing.mkdir()
        self.assert_fails(2, [nothing, "not a run folder"], "--resume", nothing)
        self.assertEqual(list(nothing.iterdir()), [])

    def test_a_run_that_lost_files_is_not_trained_again(self):
        whole = self.folder / "whole"
        self.finish(self.config, "--out", whole)
        cases = {
            "final": (["checkpoints/final.safetensors"], "final.safetensors is missing"),
            "summary": (["summary.json", "checkpoints/end.safetensors"], "summary.json is missing"),
            "both": (["summary.json", "checkpoints/final.safetensors"], "no state (checkpoints/"),
            "records": (["summary.json", "checkpoints/final.safetensors", "metrics.jsonl"],
                        "no state (checkpoints/"),
        }
        for name, (lost, message) in cases.items():
            with self.subTest(name):
                out = self.folder / name
                shutil.copytree(whole, out)
                for path in lost:
                    (out / path).unlink()
                before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
                self.assert_fails(2, [out, message, "--restart"], self.config, "--out", out,
                                  "--resume")
                self.assertEqual({p: p.read_bytes() for p in out.rglob("*") if p.is_file()},
                                 before)
        # The advice is followed.
        text = self.finish("--restart", self.folder / "records")
        self.assertIn("earlier-1", text)
        self.assertEqual(final(self.folder / "records"), final(whole))
        self.assertEqual(records(self.folder / "records" / "earlier-1" / "layers.jsonl"),
                         records(whole / "layers.jsonl"))

    def test_restart(self):
        out, other = self.folder / "run", self.folder / "other"
        self.finish(self.config, "--out", out)
        (out / "notes.txt").write_text("mine")
        before = {name: (out / name).read_bytes()
                  for name in ("config.toml", "metrics.jsonl", "layers.jsonl", "summary.json",
                               "environment.json", "checkpoints/final.safetensors")}
        both = sculpt_run(self.config, "--out", out, "--restart", "--resume")
        self.assertEqual(both.returncode, 2)
        self.assertIn("--restart", both.stderr)
        self.finish(self.config, "--out", other, "--set", "optim.lr=0.05")
        self.finish(self.config, "--out", out, "--restart", "--set", "optim.lr=0.05")
        self.assertEqual(final(out), final(other))
        self.assertEqual(records(out / "metrics.jsonl"), records(other / "metrics.jsonl"))
        self.assertEqual((out / "notes.txt").read_text(), "mine")
        for name, content in before.items():
            self.assertEqual((out / "earlier-1" / name).read_bytes(), content, name)
        # The files that were put aside form a run folder.
        self.assertIn("finished", self.finish("--resume", out / "earlier-1"))
        # An error before the run starts does not put any file aside.
        self.assert_fails(2, ["get_data"], "--restart", out, "--set", "data.name=cifar10", "--set",
                          f"data.root={self.folder}/none")
        self.assertFalse((out / "earlier-2").exists())

    def test_foreign_files_stay(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, "--set", "train.checkpoint_steps=1")
        wait_for(lambda: len(states(out)) == 2 if (out / "checkpoints").exists() else False,
                 process)
        names = ["thesis.tmp", "metrics.jsonl.tmp", "checkpoints/best.safetensors.tmp",
                 "checkpoints/state-1.safetensors", "checkpoints/my.sculpt-tmp"]
        for name in names:
            (out / name).write_text("mine")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        self.finish("--resume", out)
        for name in names:
            self.assertEqual((out / name).read_text(), "mine")


class Results(ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "run"
        self.shown = self.finish(self.config, "--out", self.out)

    def test_a_damaged_summary(self):
        path = self.out / "summary.json"
        good = path.read_text()
        for bad in ("", good[:200], "3", "{}", good.replace('"test_accuracy"', '"accuracy"'),
                    good.replace('"kept": ', '"kept": 1')):
            with self.subTest(bad=bad[:20]):
                path.write_text(bad)
                for more in ([], LONGER):
                    done = self.assert_fails(2, [path, "move the file away and give --resume"],
                                             "--resume", self.out, *more)
                    self.assertNotIn("%", done.stdout)
                self.assertEqual(path.read_text(), bad)
        path.rename(self.folder / "away.json")  # the advice, followed
        text = self.finish("--resume", self.out)
        self.assertIn(next(line for line in self.shown.splitlines() if "accuracy" in line), text)
        self.assertEqual(path.read_text(), good)

    def test_a_damaged_final_checkpoint(self):
        path = self.out / "checkpoints" / "final.safetensors"
        good = path.read_bytes()
        for place in (20, len(good) // 2, len(good) - 1):
            bad = bytearray(good)
            bad[place] ^= 1
            path.write_bytes(bad)
            for more in ([], LONGER):
                self.assert_fails(2, [f"{path} is damaged", "--restart"], "--resume", self.out,
                                  *more)
        self.finish("--restart", self.out)
        self.assertEqual(path.read_bytes(), good)
        path.write_bytes(good)

    def test_a_final_checkpoint_that_is_missing(self):
        (self.out / "checkpoints" / "final.safetensors").unlink()
        for more in ([], LONGER):
            done = self.assert_fails(2, ["final.safetensors is missing", "--restart"], "--resume",
                                     self.out, *more)
            self.assertNotIn("another config", done.stderr)

    def test_an_extension_writes_a_lost_summary_again(self):
        good = (self.out / "summary.json").read_text()
        (self.out / "summary.json").unlink()
        done = sculpt_run("--resume", self.out, *LONGER)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("summary.json was missing; it is written again", done.stderr)
        self.assertEqual((self.out / "earlier-1" / "summary.json").read_text(), good)
        whole = self.folder / "whole"
        self.finish(self.config, "--out", whole, *LONGER)
        self.assertEqual(final(self.out), final(whole))

    def test_a_config_that_is_not_the_run_s(self):
        path = self.out / "config.toml"
        good = path.read_text()
        lines = good.splitlines(keepends=True)
        damages = {
            "edited": (good.replace("\nlr = 0.1\n", "\nlr = 0.2\n"), "is not the config that"),
            "cut": ("".join(lines[:len(lines) // 2]), "are missing"),
            "cut in a line": (good[:good.index("lr =") + 4], "is damaged"),
            "empty": ("", "is empty"),
        }
        for name, (bad, message) in damages.items():
            with self.subTest(name):
                self.assertNotEqual(bad, good)
                path.write_text(bad)
                for words in (["--resume", self.out], ["--resume", self.out, *LONGER],
                              [self.config, "--out", self.out, "--resume"],
                              [self.config, "--out", self.out, "--resume", *LONGER]):
                    done = self.assert_fails(2, [path, message, "start over with"], *words)
                    self.assertNotIn("another config", done.stderr)
                self.assertEqual(path.read_text(), bad)
        self.assert_fails(2, [path, "is empty"], "--restart", self.out)
        # The message names two ways, and both are tried.
        self.finish(self.config, "--out", self.out, "--restart")
        path.write_text(good)
        self.assertIn("finished", self.finish("--resume", self.out))

    def test_a_half_finished_end(self):
        """After a kill between the last files, a resume writes the summary without training."""
        good = (self.out / "summary.json").read_text()
        (self.out / "summary.json").unlink()
        done = sculpt_run("--resume", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("written again", done.stderr)
        self.assertEqual((self.out / "summary.json").read_text(), good)


class Extension(ProgramTest):
    def test_more_cycles(self):
        for method in ("dense", "cyclic"):
            with self.subTest(method):
                config = self.write(f"{method}.toml", TINY.replace('"sculpt"', f'"{method}"'))
                whole, out = self.folder / f"{method}-whole", self.folder / method
                self.finish(config, "--out", whole, "--set", "cycles.count=3")
                self.finish(config, "--out", out)
                text = self.finish("--resume", out, "--set", "cycles.count=3")
                self.assertIn("extending the finished run", text)
                self.assertEqual(final(out), final(whole))
                names = ["metrics.jsonl"] + (["layers.jsonl"] if method == "cyclic" else [])
                for name in names:
                    self.assertEqual(records(out / name), records(whole / name))
                self.assertEqual((out / "config.toml").read_text(),
                                 (whole / "config.toml").read_text())
                self.assertIn("finished", self.finish("--resume", out))
                self.assertEqual(json.loads((out / "earlier-1" / "summary.json").read_text())
                                 ["epochs"], 4)

    def test_with_an_optimizer_that_keeps_more_than_the_momentum(self):
        """The extension writes a state before the optimizer exists, and the state has its arrays."""
        words = ["--set", 'optim.rule="adamw"', "--set", "optim.lr=0.01", "--set", "optim.ema=0.9"]
        whole, out = self.folder / "whole", self.folder / "run"
        self.finish(self.config, "--out", whole, *LONGER, *words)
        self.finish(self.config, "--out", out, *words)
        self.finish("--resume", out, *LONGER)
        self.assertEqual(final(out), final(whole))

    def test_by_a_cycle_that_trains_thresholds(self):
        words = ["--set", "method=custom", "--set"]
        short, long = 'plan=["train 2"]', 'plan=["train 2", "train 2 with str to 0.3", "shuffle mask"]'
        whole, out = self.folder / "whole", self.folder / "run"
        self.finish(self.config, "--out", whole, *words, long)
        self.finish(self.config, "--out", out, *words, short)
        self.finish("--resume", out, *words, long)
        self.assertEqual(final(out), final(whole))
        longer = long.replace(' mask"', ' mask", "train 1"')
        self.finish("--resume", out, *words, longer)
        self.finish(self.config, "--out", self.folder / "longer", *words, longer)
        self.assertEqual(final(out), final(self.folder / "longer"))

    def test_a_plan_does_not_load_from_its_own_folder(self):
        words = ["--set", "method=custom", "--set"]
        out = self.folder / "run"
        self.finish(self.config, "--out", out, *words, 'plan=["train 1"]')
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        plan = f'plan=["train 1", "load weights from {out}", "train 1"]'
        self.assert_fails(2, ["step 2 of the plan", "loads from the folder of the run itself", "copy"],
                          "--resume", out, *words, plan)
        self.assertEqual({p: p.read_bytes() for p in out.rglob("*") if p.is_file()}, before)
        copy = self.folder / "copy.safetensors"
        copy.write_bytes(final(out))
        self.finish("--resume", out, *words, plan.replace(f"from {out}", f"from {copy}"))

    def test_refusals(self):
        out = self.folder / "run"
        self.finish(self.config, "--out", out)
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        # These settings move the prune, shorten the plan, or change another setting, too.
        self.assert_fails(2, ["cannot be extended", "step 4", "prune magnitude global 0.2",
                              "train 2"], "--resume", out, "--set", "cycles.count=3")
        self.assert_fails(2, ["cannot be extended"], "--resume", out, "--set", "cycles.count=1")
        self.assert_fails(2, ["optim.lr: 0.1 in the folder, 0.2 now"], "--resume", out, "--set",
                          "cycles.final=2", "--set", "optim.lr=0.2")
        self.assertEqual({p: p.read_bytes() for p in out.rglob("*") if p.is_file()}, before)
        # More cycles at the end make the plan longer.
        whole = self.folder / "whole"
        self.finish(self.config, "--out", whole, "--set", "cycles.final=2")
        self.finish(self.config, "--out", out, "--resume", "--set", "cycles.final=2")
        self.assertEqual(final(out), final(whole))

    def test_an_unfinished_run_says_when(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out)
        wait_for(lambda: (out / "layers.jsonl").exists(), process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75)
        self.assert_fails(2, ["cycles.final: 1 in the folder, 2 now", "once it has finished"],
                          "--resume", out, "--set", "cycles.final=2")
        good = (out / "config.toml").read_text()
        (out / "config.toml").write_text(good.replace("final = 1", "final = 2"))
        self.assert_fails(2, [out / "config.toml", "is not the config that", "--set"], "--resume", out)
        (out / "config.toml").write_text(good)
        self.finish("--resume", out)
        self.finish("--resume", out, "--set", "cycles.final=2")


if __name__ == "__main__":
    main()

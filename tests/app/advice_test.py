"""Every message that gives advice is provoked, its advice is followed, and that must help.

A case has the words of a command that fails, the advice as the message words it, and what a person
does who follows it. Settings are taken from the message where it names them.
"""
import json
import os
import re
import shlex
import signal
import subprocess
import time

from common import PROGRAM, TIMEOUT, ProgramTest, main, sculpt_run, sets, start, states


def plan(*steps):
    return sets("method=custom", "plan=" + json.dumps(steps))


# The last batch norm of this network sees a single pixel.
ONE_PIXEL = sets("model.name=resnet18", "model.stem=imagenet", "model.width=0.05")
STR = sets("method=dense", "prune.sparsity=0.8", "masks.rule=str")

# Each entry has settings that fail, the advice in the message, and a list of settings for each way
# to follow it.
# A function takes the match of the advice, a regular expression, and returns the settings.
SETTINGS = [
    (sets("train.epochs=10.0"), r"write (\d+), without a decimal point",
     [lambda m: sets(f"train.epochs={m[1]}")]),
    (sets("optim.lr=.1"), r"; write (\S+)$", [lambda m: sets(f"optim.lr={m[1]}")]),
    (sets("train.epochs=3."), r"; write (\S+)$", [lambda m: sets(f"train.epochs={m[1]}")]),
    (sets("optim.milestones=.5,.75"), r"; write (\[0\.5, 0\.75\])$",
     [lambda m: sets(f"optim.milestones={m[1]}")]),
    (sets("optim.milestones=0.5"), r"; write (\[0\.5\])$",
     [lambda m: sets(f"optim.milestones={m[1]}")]),
    (sets("train.epoch=3"), r"did you mean (\S+)\?", [lambda m: sets(f"{m[1]}=3")]),
    (sets("Train.LR=0.2"), r"did you mean (\S+)\?", [lambda m: sets(f"{m[1]}=0.2")]),
    (sets("method=SCULPT"), r'did you mean "(\w+)"\?', [lambda m: sets(f"method={m[1]}")]),
    (sets("prune.criterion=SNIP"), r'did you mean "(\w+)"\?',
     [lambda m: sets(f"prune.criterion={m[1]}", "prune.score_images_per_class=1")]),
    (sets("model.name=ResNet20"), r'did you mean "(\w+)"\?', [lambda m: sets(f"model.name={m[1]}")]),
    (plan("train 2", "prune Magnitude global 0.5", "train 2"), r'did you mean "(\w+)"\?',
     [lambda m: plan("train 2", f"prune {m[1]} global 0.5", "train 2")]),
    (plan("train 2", "prune magnitude ERK 0.5", "train 2"), r'did you mean "(\w+)"\?',
     [lambda m: plan("train 2", f"prune magnitude {m[1]} 0.5", "train 2")]),
    (plan("Train 2"), r'did you mean "(\w+)"\?', [lambda m: plan(f"{m[1]} 2")]),
    (sets("method=sculp"), r'did you mean "(\w+)"\?', [lambda m: sets(f"method={m[1]}")]),
    (sets("train=3"), r"its keys are train\.<key>", [sets("train.epochs=3")]),
    (sets("prune.sparsity=1.5"), r"it must be at least 0 and below 1", [sets("prune.sparsity=0.9")]),
    (["--set", "optim.lr"], r"write it as --set key=value, for example (.*)",
     [lambda m: m[1].split()]),
    (["--set", "model.name=3.5"], r"it is one of (\w+)", [lambda m: sets(f"model.name={m[1]}")]),
    (sets("train.batch=many"), r"must be a whole number from 1", [sets("train.batch=16")]),
    (sets("method=wr", "cycles.rewind_epoch=2"), r"set cycles.rewind_epoch below the epochs of every cycle",
     [sets("method=wr", "cycles.rewind_epoch=1"),
      sets("method=wr", "cycles.rewind_epoch=2", "train.epochs=3")]),
    (sets("prune.sparsity=0.3"), r"the first must be lower",
     [sets("prune.sparsity=0.3", "prune.initial_sparsity=0.2")]),
    (sets("method=custom"), r"needs a plan, e\.g\. plan = (\[.*\])",
     [lambda m: sets("method=custom", f"plan={m[1]}")]),
    (sets('plan=["train 2"]'), r'`plan` is only for method = "custom"',
     [sets('plan=["train 2"]', "method=custom"), []]),
    (plan("prune magnitude global 0.5"), r'needs at least one step "train EPOCHS"',
     [plan("prune magnitude global 0.5", "train 2")]),
    (plan("trian 2"), r'a step is "prune CRITERION ALLOCATION DENSITY", "rewind EPOCH", '
     r'"train EPOCHS \[from EPOCH\] \[with RULE \[to DENSITY\]\]", "reinit all", "reinit keep signs", '
     r'"reinit keep magnitudes", "shuffle mask" or "load weights\|mask\|signs\|batch_norm from PATH"',
     [plan("prune magnitude erk 0.5", "rewind 0", "train 2", "train 3 from 1", "train 2 with set", "reinit all",
           "reinit keep signs", "reinit keep magnitudes", "shuffle mask", "train 3 from 1 with gmp to 0.1")]),
    (plan("rewind 1", "train 2"), r"train first, or rewind 0",
     [plan("rewind 0", "train 2"), plan("train 2", "rewind 1", "train 2")]),
    (sets("cycles.total_epochs=1", "cycles.count=2"),
     r"raise cycles.total_epochs or lower cycles.count",
     [sets("cycles.total_epochs=2", "cycles.count=2"),
      sets("cycles.total_epochs=1", "cycles.count=1")]),
    (sets("optim.schedule=trapezoidal", "optim.warmup=0.9", "optim.cooldown=0.9"), r"lower one",
     [sets("optim.schedule=trapezoidal", "optim.warmup=0.1", "optim.cooldown=0.9"),
      sets("optim.schedule=trapezoidal", "optim.warmup=0.9", "optim.cooldown=0.1")]),
    (sets("optim.nesterov=true", "optim.momentum=0"), r"needs optim.momentum above 0",
     [sets("optim.nesterov=true", "optim.momentum=0.5")]),
    (sets("optim.sign_in=2", "optim.rule=adamw"),
     r'set optim.rule = "sgd" or optim.sign_in = 0',
     [sets("optim.sign_in=2", "optim.rule=sgd"), sets("optim.sign_in=0", "optim.rule=adamw")]),
    (sets("optim.sign_in=2", "optim.ham=true"), r"set optim.ham = false or optim.sign_in = 0",
     [sets("optim.sign_in=2", "optim.ham=false"), sets("optim.sign_in=0", "optim.ham=true")]),
    (STR + sets("optim.ham=true"), r"set optim.ham = false", [STR + sets("optim.ham=false")]),
    (STR + sets("optim.sign_in=1"), r"set optim.sign_in = 0", [STR + sets("optim.sign_in=0")]),
    (STR + sets("optim.ema=0.9"), r"set optim.ema = 0", [STR + sets("optim.ema=0")]),
    (sets("execution.precision=bf16") + ["--device", "cpu"], r"use (\w+) or (\w+)",
     [lambda m: sets(f"execution.precision={m[1]}"), lambda m: sets(f"execution.precision={m[2]}")]),
    (["--device", "cpu", "--conv", "cudnn"], r"use (\w+) or (\w+)",
     [lambda m: ["--conv", m[1]], lambda m: ["--conv", m[2]]]),
    (["--device", "gpu"], r"use auto, cpu, ", [["--device", "auto"], ["--device", "cpu"]]),
    (sets("model.name=vgg11_bn", "data.name=mnist"), r"use larger images or a model with",
     [sets("model.name=lenet", "data.name=mnist"), sets("model.name=vgg11_bn")]),
    (["--device", "cuda"], r"use (--device cpu)$", [lambda m: m[1].split()]),
    (sets("train.batch=97", "train.drop_last=true"), r"lower train.batch",
     [sets("train.batch=96", "train.drop_last=true")]),
    (ONE_PIXEL + sets("data.train_limit=1"), r"raise data.train_limit",
     [ONE_PIXEL + sets("data.train_limit=2")]),
    (ONE_PIXEL + sets("train.batch=1"), r"raise train.batch", [ONE_PIXEL + sets("train.batch=2")]),
    (ONE_PIXEL + sets("data.train_limit=33"), r"set train.drop_last = true or change train.batch",
     [ONE_PIXEL + sets("data.train_limit=33", "train.drop_last=true"),
      ONE_PIXEL + sets("data.train_limit=33", "train.batch=31")]),
    (sets("prune.reestimate_batch_norm=1"), r"use 0 \(off\), or 2 to (\d+)",
     [sets("prune.reestimate_batch_norm=0"), sets("prune.reestimate_batch_norm=2"),
      lambda m: sets(f"prune.reestimate_batch_norm={m[1]}")]),
    (plan("prune random erk 0.00001", "train 1"), r"keeps none of the \d+ prunable weights; raise it",
     [plan("prune random erk 0.1", "train 1")]),
    (sets("data.val_split=0.999"), r"choose a smaller fraction", [sets("data.val_split=0.2")]),
    (sets("model.init_from=none.safetensors"), r"give the path of a safetensors file", [[]]),
]


class Settings(ProgramTest):
    """Follows advice about settings. --plan must then accept the settings."""

    def test_every_case(self):
        for words, advice, ways in SETTINGS:
            with self.subTest(words):
                done = sculpt_run(self.config, *words, "--plan")
                self.assertIn(done.returncode, (1, 2), done.stderr)
                self.assertEqual(done.stderr.count("error: "), 1, done.stderr)
                found = re.search(advice, done.stderr)
                self.assertIsNotNone(found, done.stderr)
                for way in ways:
                    self.finish(self.config, *(way(found) if callable(way) else way), "--plan")

    def test_sections(self):
        for text, advice, follow in (
                ("[trian]\n", r"did you mean \[(\w+)\]\?", lambda m: f"[{m[1]}]\n"),
                ("[train]\n[prunes]\n", r"did you mean \[(\w+)\]\?", lambda m: f"[{m[1]}]\n"),
                ("[train.optimizer]\n", r"the sections are (\w+)", lambda m: f"[{m[1]}]\n"),
                ("trian = {}\n", r"did you mean \[(\w+)\]\?", lambda m: f"[{m[1]}]\n"),
                ("[Train]\n", r"did you mean \[(\w+)\]\?", lambda m: f"[{m[1]}]\n"),
                ("[optim]\nlr = .1 # low\n", r"; write (lr = 0\.1)$", lambda m: f"[optim]\n{m[1]}\n"),
                ("[optim]\nmilestones = [ .5, 1. ]\n", r"; write (milestones = .*)$",
                 lambda m: f"[optim]\n{m[1]}\n"),
                ("[seed]\n", r"write (\w+) = VALUE", lambda m: f"{m[1]} = 3\n"),
                ("[[train]]\nepochs = 3\n", r"written (\[train\]), with single brackets",
                 lambda m: f"{m[1]}\nepochs = 3\n"),
                ("[[trian]]\n", r"written (\[trian\]), with single brackets", None)):
            with self.subTest(text):
                path = self.write("bad.toml", text)
                done = self.assert_fails(2, ["bad.toml:"], path, "--plan")
                found = re.search(advice, done.stderr)
                self.assertIsNotNone(found, done.stderr)
                if follow:
                    path.write_text(follow(found))
                    self.finish(path, "--plan", *sets("data.synthetic_train=96", "model.width=0.25"))


class Environment(ProgramTest):
    def test_instruction_set(self):
        wrong = {**os.environ, "SCULPT_CPU_ISA": "sse"}
        done = self.assert_fails(2, ["use avx512, avx2 or portable"], self.config, "--plan",
                                 env=wrong)
        self.assertIn("SCULPT_CPU_ISA", done.stderr)
        good = sculpt_run(self.config, "--plan", env={**wrong, "SCULPT_CPU_ISA": "portable"})
        self.assertEqual(good.returncode, 0, good.stderr)


    def test_profile_on_the_cpu(self):
        words = [self.config, "--device", "cpu", "--out", self.folder / "run"]
        done = self.assert_fails(2, ["write FIRST:LAST"], *words, "--profile", "3:")
        steps = re.search(r"e\.g\. (\d+:\d+)$", done.stderr.strip())[1]
        done = self.assert_fails(2, ["--profile needs a GPU"], *words, "--profile", steps)
        command = re.search(r"on the CPU `(sculpt_bench \w+)` times the ops", done.stderr)[1].split()
        bench = os.environ.get("SCULPT_BENCH", PROGRAM.replace("sculpt_run", "sculpt_bench"))
        done = subprocess.run([bench, *command[1:], "--model", "resnet20", "--width", "0.25",
                               "--batch", "16", "--steps", "1"], capture_output=True, text=True,
                              timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("layer1.0.conv1", done.stdout)


class Folders(ProgramTest):
    def test_folder_of_something_else(self):
        self.write("notes.txt", "mine")
        self.assert_fails(2, ["choose another folder with --out"], self.config, "--out", self.folder)
        self.finish(self.config, "--out", self.folder / "other")
        self.assert_fails(2, ["choose another with --out"], self.config, "--out",
                          self.folder / "notes.txt")

    def test_folder_of_another_config(self):
        out = self.folder / "run"
        self.finish(self.config, "--out", out)
        self.assert_fails(2, ["go on with --resume, start over with --restart, or choose another folder "
                              "with --out"], self.config, "--out", out)
        self.finish(self.config, "--out", out, "--resume")
        self.finish(self.config, "--out", out, "--restart")
        self.assert_fails(2, ["give the same config, or another folder with --out"], self.config,
                          "--out", out, "--resume", "--set", "optim.lr=0.05")
        self.finish(self.config, "--out", self.folder / "other", "--set", "optim.lr=0.05")

    def test_damaged_checkpoints(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, *sets("train.checkpoint_steps=1"))
        end = time.monotonic() + TIMEOUT
        while process.poll() is None and time.monotonic() < end:
            if (out / "checkpoints").exists() and len(states(out)) == 2:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        for path in states(out):
            os.truncate(path, 100)
        done = sculpt_run(self.config, "--out", out, "--resume")
        self.assertIn(done.returncode, (1, 2), done.stderr)
        self.assertIn("no checkpoint in", done.stderr)
        self.follow_restart(done.stderr, out)

    def follow_restart(self, errors, out):
        self.assertIn("start over with --restart", errors)
        self.finish(self.config, "--out", out, "--restart")


class Training(ProgramTest):
    def test_divergence(self):
        """Runs the command in the message through a shell, for a folder whose name has a blank."""
        out = self.folder / "a run"
        done = self.assert_fails(1, ["start again with a lower optim.lr"], self.config, "--out",
                                 out, *sets("method=dense", "cycles.count=1", "optim.lr=20",
                                            "optim.weight_decay=0.9", "optim.schedule=constant",
                                            "train.epochs=15"))
        command = shlex.split(done.stderr.strip().splitlines()[-1])
        self.assertEqual(command[0], "sculpt_run")
        again = subprocess.run([PROGRAM, *command[1:]], capture_output=True, text=True,
                               timeout=TIMEOUT, check=False)
        self.assertEqual(again.returncode, 0, again.stderr)
        # A resume cannot change the learning rate, so the message must not propose it.
        self.assertNotIn("go on with --resume", done.stderr)

    def test_divergence_with_clipping(self):
        words = [self.config, *sets("optim.lr=1000", "optim.weight_decay=0", "model.name=mlp",
                                    "optim.schedule=constant", "train.epochs=3")]
        self.assert_fails(1, ["or with optim.clip_norm set"], *words, "--out", self.folder / "run")
        self.finish(*words, "--out", self.folder / "clipped", "--set", "optim.clip_norm=0.001")

    def test_too_few_images_of_a_class(self):
        words = [self.config, *sets("prune.criterion=snip")]
        done = sculpt_run(*words, *sets("prune.score_images_per_class=12"), "--out", self.folder / "run")
        self.assertIn(done.returncode, (1, 2), done.stderr)
        self.assertIn("raise data.synthetic_train or lower prune.score_images_per_class", done.stderr)
        self.finish(*words, "--out", self.folder / "fewer", "--set",
                    "prune.score_images_per_class=2")

    def test_density_that_keeps_nothing(self):
        words = [self.config, *sets("method=pai")]
        done = sculpt_run(*words, *sets("prune.sparsity=0.9999999"), "--out", self.folder / "run")
        self.assertIn(done.returncode, (1, 2), done.stderr)
        self.assertRegex(done.stderr, "keeps none of the .* weights; raise it")
        self.finish(*words, "--out", self.folder / "more", "--set", "prune.sparsity=0.99")

    def test_layer_without_weights(self):
        words = [self.config, *sets("method=pai", "prune.criterion=magnitude", "train.epochs=1")]
        # With a sparsity of 0.9995, the network keeps fewer weights than it has layers.
        for name, sparsity, allocation, mended, advice in (
                ("global", 0.998, "global", ("balanced", 0.998),
                 "a higher density or the allocation balanced keeps some"),
                ("balanced", 0.9995, "balanced", ("global", 0.5), "; a higher density keeps some"),
                ("erk", 0.9995, "erk", ("global", 0.5), "; a higher density keeps some")):
            done = sculpt_run(*words, *sets(f"prune.allocation={allocation}", f"prune.sparsity={sparsity}"),
                              "--out", self.folder / name)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(advice, done.stdout + done.stderr)
            done = sculpt_run(*words, *sets(f"prune.allocation={mended[0]}", f"prune.sparsity={mended[1]}"),
                              "--out", self.folder / f"{name}-mended")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("has no weight left", done.stdout + done.stderr)


if __name__ == "__main__":
    main()

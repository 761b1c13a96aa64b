"""Valid arguments and configs run, and invalid ones are refused with a reason."""
import json
import os
import pty

from common import PROGRAM, ROOT, TINY, ProgramTest, final, main, records, sculpt_run

SMALL = ["--set", "data.name=synthetic", "--set", "data.synthetic_train=120", "--set",
         "data.synthetic_test=20", "--set", "model.width=0.1"]
METHODS = ["dense", "oneshot", "imp", "wr", "lrr", "pai", "cyclic", "sculpt"]


class Arguments(ProgramTest):
    def test_help(self):
        text = self.finish("--help")
        for part in ("--set", "--profile FIRST:LAST ", "--threads N ", "[FORMAT] ", "--resume", "--plan", "--describe", "--threads", "75", "CONFIG.toml"):
            self.assertIn(part, text)

    def test_wrong_arguments(self):
        for words in (["--no-such"], [], [self.config, "--threads", "-1"],
                      [self.config, "--device", "gpu"], [self.config, "more"],
                      [self.config, "--conv", "cublas"], [self.config, "--conv", "cudnn"],
                      [self.config, "--profile", "9:3"], [self.config, "--profile", "1:2x"],
                      ["--help-config", "html"], [self.config, "--threads", "many"]):
            with self.subTest(words):
                done = sculpt_run(*words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertNotEqual(done.stderr, "")

    def test_options_that_set_a_key(self):
        """An error names what was typed, and the range is that of the key."""
        self.finish(self.config, "--plan", "--threads", "0")
        for words, parts in (
                (["--threads", "x"], ['--threads x: execution.threads must be a whole number from 0 to 4096']),
                (["--threads", "4097"], ["--threads 4097: execution.threads = 4097 is out of range"]),
                (["--sparse", "on1"], ['--sparse on1: execution.sparse = "on1" is not known']),
                (["--device", "gpu"], ["--device gpu: unknown device 'gpu'"]),
                (["--device", "cpu", "--conv", "cudnn"], ["--conv cudnn: execution.conv = cudnn needs a GPU"]),
                (["--set", "execution.device=gpu"], ["--set execution.device=gpu: unknown device"])):
            with self.subTest(words):
                done = self.assert_fails(2, parts, self.config, *words)
                if "--set" not in words:
                    self.assertNotIn("--set", done.stderr)

    def test_a_key_is_given_once(self):
        for words, parts in (
                (["--threads", "2", "--set", "execution.threads=1"],
                 ["--threads 2: --set execution.threads=1 gives execution.threads another value"]),
                (["--sparse", "on", "--set", "train.sparse=off"], ["train.sparse and execution.sparse"]),
                (["--set", "optim.lr=1", "--set", "optim.lr=2"],
                 ["--set optim.lr=2: --set optim.lr=1 gives optim.lr another value", "give one of the two"])):
            with self.subTest(words):
                self.assert_fails(2, parts, self.config, *words, "--out", self.folder / "run")
                self.assertFalse((self.folder / "run").exists())
        self.finish(self.config, "--plan", "--threads", "2", "--set", "execution.threads=2")

    def test_devices_in_a_config(self):
        for line, part in (("device = 'gpu'", "execution.device: unknown device 'gpu'"),
                           ("device = 'cuda:99'", "execution.device: the device cuda:99 cannot be used"),
                           ("device = 'cpu'\nprecision = 'bf16'", "execution.precision = bf16 needs a GPU")):
            config = self.write("device.toml", TINY + "[execution]\n" + line + "\n")
            number = len(config.read_text().splitlines())
            done = self.assert_fails(2, [f"{config}:{number}: {part}"], config, "--out", self.folder / "run")
            self.assertNotIn("--device cuda", done.stderr)

    def test_layers_that_are_exempt(self):
        for value, parts in (
                ('["layer1"]', ["called 'layer1'; write \"layer1.*\" for all layers in it"]),
                ('["layer1.0.conv3"]', ['did you mean "layer1.0.conv']),
                ("[conv1, fc]", ["must be a list of texts", """write 'prune.exempt=["conv1", "fc"]'"""]),
                ("fc", ["""write 'prune.exempt=["fc"]'"""]),
                ('["*"]', ["every layer is exempt; take layers out of prune.exempt, or set prune.first_conv "
                           "or prune.classifier to true if it is false"])):
            with self.subTest(value):
                self.assert_fails(2, parts, self.config, "--plan", "--set", f"prune.exempt={value}")
        for value in ('["layer1.*"]', '["conv1", "fc"]'):
            self.finish(self.config, "--plan", "--set", f"prune.exempt={value}")
        config = self.write("text.toml", TINY.replace("[prune]", "[prune]\nexempt = 'fc'"))
        self.assert_fails(2, [f"{config}:", 'not "fc"; write ["fc"]'], config)
        self.assert_fails(2, ["keeps none of the", "density is 1 - prune.sparsity"], self.config, "--plan",
                          "--set", "prune.sparsity=0.9999999")

    def test_one_thing_is_not_called_many(self):
        text = self.finish(self.config, "--plan", "--threads", "1", "--set", "train.epochs=1")
        text = " ".join(text.split())
        self.assertIn("one dense cycle of 1 epoch (", text)
        self.assertIn(", 1 thread).", text)

    def test_plan_and_description_together(self):
        text = self.finish(self.config, "--plan", "--describe")
        self.assertLess(text.index("layer1.0.conv1.weight"), text.index("prune magnitude global 0.2"))

    def test_both_forms_of_a_command_are_shown(self):
        forms = ["sculpt_run CONFIG.toml [OPTIONS]", "sculpt_run --resume RUN_FOLDER [OPTIONS]"]
        text = self.finish("--help")
        for form in forms:
            self.assertIn(form, text)
        self.assert_fails(2, [*forms, "the run folder to go on in is missing"], "--resume")
        self.assert_fails(2, [*forms, "the run folder to start over in is missing"], "--restart")
        self.assert_fails(2, [*forms, "the config is missing"], "--plan")

    def test_files_and_folders_that_are_not_there(self):
        for word, message in (("--resume", "no run folder"), ("--restart", "no run folder"),
                              ("--plan", "no config")):
            # A name that ends in .toml means a config.
            self.assert_fails(2, ["no config", f'did you mean "{self.config}"?'], word,
                              self.folder / "tinny.toml")
            done = self.assert_fails(2, [message, self.folder / "no" / "name"], word,
                                     self.folder / "no" / "name")
            self.assertNotIn("did you mean", done.stderr)

    def test_version_fits_a_terminal(self):
        text = self.finish("--version")
        for part in ("sculpt_run ", "commit ", "build ", "compiler ", "CPU ", "GPU "):
            self.assertIn("\n" + part if part != "sculpt_run " else part, text)
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80)

    def test_documentation_is_up_to_date(self):
        expected = self.finish("--help-config", "markdown")
        self.assertEqual((ROOT / "docs" / "config.md").read_text(), expected,
                         "old: sculpt_run --help-config markdown > docs/config.md")
        text = self.finish("--help-config")
        for key in ("method", "seed", "model.name", "model.width", "data.name", "data.root",
                    "data.train_limit", "data.test_limit", "train.epochs", "train.batch",
                    "optim.lr", "optim.schedule", "prune.criterion", "prune.allocation",
                    "prune.sparsity", "prune.initial_sparsity", "prune.rate", "cycles.count"):
            self.assertIn(f"  {key} = ", text)

    def test_config_errors(self):
        cases = [
            ("[train]\nepoch = 3\n", ["bad.toml:2", "train.epoch", "did you mean train.epochs?"]),
            ("method = 'sculp'\n", ["bad.toml:1", "did you mean \"sculpt\"?"]),
            ("[optim]\nlr = 'high'\n", ["bad.toml:2", "optim.lr must be a number"]),
            ("[prune]\nsparsity = 1.5\n", ["prune.sparsity = 1.5", "below 1"]),
            ("[model]\nname = 'resnet21'\n", ["did you mean \"resnet20\"?"]),
            ("[data]\nname = 'cifar1'\n", ["did you mean \"cifar10\"?"]),
            ("[prune]\nsparsity = 0.5\ninitial_sparsity = 0.6\n", ["prune.initial_sparsity"]),
            ("method = 'wr'\n[cycles]\nrewind_epoch = 99\n", ["cycles.rewind_epoch"]),
            ("method = 'custom'\nplan = ['train 2', 'prume magnitude global 0.5']\n", ["prume"]),
            ("[optim]\nschedule = 'trapezoidal'\nwarmup = 0.9\ncooldown = 0.9\n", ["optim.warmup"]),
            ("not toml", ["bad.toml:1"]),
        ]
        for text, parts in cases:
            with self.subTest(text):
                self.assert_fails(2, parts, self.write("bad.toml", text), "--out",
                                  self.folder / "run")
                self.assertFalse((self.folder / "run").exists())
        self.assert_fails(2, ["no.toml"], self.folder / "no.toml")
        self.assert_fails(2, ["--set train.lrr=1", "optim.lr"], self.config, "--set", "train.lrr=1")

    def test_missing_data_names_the_fix(self):
        self.assert_fails(2, ["cifar10", "get_data"], self.config, "--set", "data.name=cifar10",
                          "--set", f"data.root={self.folder}/none", "--out", self.folder / "run")

    def test_plan_and_describe_run_nothing(self):
        text = self.finish(self.config, "--plan", "--out", self.folder / "run")
        for part in ("prune random erk 0.5", "prune magnitude global 0.2", "train 2", "total",
                     "vs dense"):
            self.assertIn(part, text)
        text = self.finish(self.config, "--describe", "--out", self.folder / "run")
        for part in ("layer1.0.conv1.weight", "4x4x3x3", "fc.bias", "prunable", "MACs"):
            self.assertIn(part, text)
        self.assertFalse((self.folder / "run").exists())

    def test_plan_and_describe_need_no_data_files(self):
        settings = ["--set", "data.name=cifar100", "--set", "data.root=nowhere"]
        self.assertIn("50000 training images", self.finish(self.config, "--plan", *settings))
        self.assertIn("100 classes", self.finish(self.config, "--describe", *settings))

    def test_every_preset_loads_and_prints_its_plan(self):
        # study_test.py plans the studies.
        presets = [path for path in sorted((ROOT / "configs").rglob("*.toml"))
                   if path.parent.name != "studies" or path.name == "common.toml"]
        names = [str(p.relative_to(ROOT / "configs")) for p in presets]
        self.assertIn("quickstart.toml", names)
        for method in METHODS:
            for folder in ("cifar10", "cifar100"):
                self.assertIn(f"{folder}/{method}.toml", names)
                self.assertIn(f"{folder}/{method}-triangular.toml", names)
        # Under a sanitizer a few cases are enough, because the cases differ only in text.
        every = 9 if os.environ.get("SCULPT_SANITIZE") else 1
        for preset, name in list(zip(presets, names))[::every]:
            with self.subTest(name):
                text = self.finish(preset, "--plan", *SMALL)
                self.assertIn("total", text)
                method = preset.stem.replace("-triangular", "")
                if method in METHODS:
                    self.assertIn(f"method {method}:", text)


class Run(ProgramTest):
    def test_what_a_run_leaves_behind(self):
        out = self.folder / "run"
        text = self.finish(self.config, "--out", out)
        self.assertIn("epoch 2/2", text)
        self.assertIn(str(out), text)
        summary = json.loads((out / "summary.json").read_text())
        for key in ("method", "seed", "prunable", "kept", "sparsity", "test_accuracy",
                    "best_test_accuracy_at_final_density", "best_epoch_at_final_density", "train_loss", "epochs", "train_flops",
                    "train_flops_vs_dense", "seconds", "images_per_second", "peak_memory_bytes",
                    "peak_device_memory_bytes", "device", "ranks"):
            self.assertIn(key, summary)
        self.assertEqual((summary["method"], summary["seed"], summary["device"]),
                         ("sculpt", 7, "cpu"))
        self.assertEqual(summary["kept"], round(0.2 * summary["prunable"]))
        self.assertEqual(summary["epochs"], 6)
        metrics = records(out / "metrics.jsonl")
        self.assertEqual([line["epoch"] for line in metrics], [1, 2, 3, 4, 5, 6])
        self.assertEqual(summary["test_accuracy"], metrics[-1]["test_accuracy"])
        layers = records(out / "layers.jsonl")
        last = [line for line in layers if line["plan_step"] == layers[-1]["plan_step"]]
        self.assertEqual(sum(line["kept"] for line in last), summary["kept"])
        environment = json.loads((out / "environment.json").read_text())
        for key in ("version", "commit", "compiler", "cpu", "backend", "threads"):
            self.assertIn(key, environment)
        self.assertEqual(sorted(p.name for p in (out / "checkpoints").iterdir()),
                         ["end.safetensors", "final.safetensors"])
        self.assertIn("best at the final density", text)

        # The resolved config repeats the run. The number of checkpoints does not change the result.
        again = self.folder / "again"
        self.finish(out / "config.toml", "--out", again, "--set", "train.checkpoint_every=0",
                    "--threads", environment["threads"])
        self.assertEqual(final(again), final(out))
        resolved = (again / "config.toml").read_text()
        for now, before in (("checkpoint_every = 0", "checkpoint_every = 1"),
                            (f"threads = {environment['threads']}", "threads = 0")):
            self.assertIn(now, resolved)
            resolved = resolved.replace(now, before)
        self.assertEqual(resolved, (out / "config.toml").read_text())
        other = self.folder / "other"
        self.finish(self.config, "--out", other, "--set", "seed=8")
        self.assertNotEqual(final(other), final(out))

    def test_time_on_dense_kernels(self):
        said, results = {}, {}
        for name, settings in (("measured", ["execution.sparse=on"]),
                               ("plain", ["execution.sparse=on", "execution.dense_timing=false"]),
                               ("dense", ["execution.sparse=off"])):
            out = self.folder / name
            said[name] = self.finish(self.config, "--out", out, "--threads", 2,
                                     *(word for s in settings for word in ("--set", s)))
            results[name] = json.loads((out / "summary.json").read_text())
        # Measuring does not change the result of training.
        self.assertEqual(final(self.folder / "measured"), final(self.folder / "plain"))
        measured, plain, dense = results["measured"], results["plain"], results["dense"]
        self.assertEqual(measured["sparse_steps"], 6 * 3)
        self.assertGreater(measured["seconds_dense"], 0)
        self.assertGreater(measured["seconds_measuring_dense"], 0)
        self.assertLess(measured["seconds_measuring_dense"] + measured["train_seconds"],
                        measured["seconds"])
        self.assertIn("with dense kernels", said["measured"])
        self.assertEqual((plain["seconds_dense"], plain["sparse_steps"]), (None, 6 * 3))
        self.assertEqual((dense["seconds_dense"], dense["sparse_steps"]), (None, 0))
        for name in ("plain", "dense"):
            self.assertEqual(results[name]["seconds_measuring_dense"], 0)
            self.assertNotIn("with dense kernels", said[name])

    def test_progress_on_a_terminal_and_without(self):
        def read(descriptor):
            shown.append(os.read(descriptor, 65536))
            return b"."  # shown instead; an empty text would mean the end

        shown = []
        code = pty.spawn([PROGRAM, str(self.config), "--out", str(self.folder / "a")], read)
        self.assertEqual(code, 0)
        text = b"".join(shown).decode()
        self.assertRegex(text, r"\r\[#*\.*\] +\d+ %  ETA ")
        self.assertIn("cycle 1/3 epoch 2/2", text)
        self.assertNotIn("\r", self.finish(self.config, "--out", self.folder / "b"))


if __name__ == "__main__":
    main()

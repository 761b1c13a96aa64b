"""Errors that are known before a run are reported before it, with exit code 2 and no folder."""
import re

from common import ProgramTest, main, sculpt_run, sets, start, states

ONE_PIXEL = ["--set", "model.name=resnet18", "--set", "model.stem=imagenet", "--set",
             "model.width=0.05", "--set", "data.synthetic_train=129"]


def custom(*steps):
    return sets("method=custom", "plan=[" + ", ".join(f"'{step}'" for step in steps) + "]")


class Preflight(ProgramTest):
    def assert_refused(self, parts, *words):
        """Checks that the run and --plan are refused, and that neither leaves a file."""
        out = self.folder / "refused"
        for more in ([], ["--plan"]):
            with self.subTest(words=words, more=more):
                self.assert_fails(2, parts, self.config, "--out", out, *words, *more)
                self.assertFalse(out.exists())

    def test_densities(self):
        self.assert_refused(["keeps none of the", "step 1 of the plan"],
                            *custom("prune random global 1e-9", "train 1"))
        self.assert_refused(["keeps none of the"], *sets("method=pai", "prune.sparsity=0.9999999"))

    def test_a_layer_left_without_weights_is_named(self):
        words = custom("prune random uniform 0.003", "train 1")
        for more in (["--plan"], ["--out", self.folder / "run"]):
            done = sculpt_run(self.config, *words, *more)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stderr, r"warning: step 1 of the plan.*leaves no weight in conv1")

    def test_huge_plans(self):
        for rate in ("1e-9", "1e-17", "1e-300"):
            self.assert_refused(["prune.rate", "levels", "raise prune.rate"],
                                *sets("method=imp", f"prune.rate={rate}"))
        self.assert_refused(["more than 1000000000 epochs"], *custom("train 9223372036854775807"))
        self.assert_refused(["too large"], *custom("train 9223372036854775808"))
        self.assert_refused(["step 2", "more than 1000000000 epochs"],
                            *custom("train 600000000", "train 600000000"))
        self.assert_refused(["more than 1000000000 epochs"],
                            *sets("cycles.count=10000", "train.epochs=1000000"))

    def test_images_to_score(self):
        for criterion in ("snip", "grasp"):
            self.assert_refused(["class", "has", "images of each class"],
                                *custom(f"prune {criterion} global 0.5", "train 1"),
                                *sets("data.train_limit=30", "prune.score_images_per_class=4"))
        # If there are no files, the classes cannot be counted, but all images can.
        plan = custom("prune snip global 0.5", "train 1")
        cifar = sets("data.name=cifar10", "data.root=nowhere", "model.width=0.1")
        self.assert_fails(2, ["prune.score_images_per_class"], self.config, "--plan", *plan, *cifar,
                          *sets("data.train_limit=30"))
        text = self.finish(self.config, "--plan", *plan, *cifar, *sets("data.train_limit=200"))
        self.assertIn("not checked", text)

    def test_the_advice_about_images_to_score_is_followed(self):
        def words(*settings):
            return [self.config, "--plan", *sets("prune.criterion=snip", *settings)]

        # The advice depends on whether each class has an image.
        for settings, advice, few, mended in (
                (["data.val_split=0.7"], "lower data.val_split or raise data.synthetic_train", True,
                 ["data.val_split=0.2"]),
                (["data.train_limit=40"], "raise data.train_limit", True, ["data.train_limit=90"]),
                (["data.train_limit=9"], "raise data.train_limit", False, ["data.train_limit=90"]),
                (["data.train_limit=9", "data.val_split=0.7"],
                 "lower data.val_split and raise data.train_limit or raise data.synthetic_train and "
                 "data.train_limit", False, ["data.train_limit=90", "data.val_split=0.1"]),
                (["data.synthetic_train=30"], "raise data.synthetic_train", True,
                 ["data.synthetic_train=200"])):
            scored = "prune.score_images_per_class=6"
            with self.subTest(settings):
                lower = " or lower prune.score_images_per_class" if few else ""
                done = self.assert_fails(2, [], *words(scored, *settings))
                self.assertTrue(done.stderr.endswith(f"; {advice}{lower}\n"), done.stderr)
                self.finish(*words(scored, *mended))
                if few:
                    self.finish(*words("prune.score_images_per_class=1", *settings))

    def test_few_validation_images(self):
        warning = "warning: data.val_split = 0.1 holds out only 10 images"
        done = sculpt_run(self.config, "--plan", *sets("data.val_split=0.1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count(warning), 1, done.stderr)
        self.assertIn("a multiple of 10 %", done.stderr)
        for settings in (["data.val_split=0.1", "data.synthetic_train=1000"], ["data.test_limit=10"]):
            done = sculpt_run(self.config, "--plan", *sets(*settings))
            self.assertNotIn("holds out", done.stderr)

    def test_last_batch_of_one_image(self):
        self.assert_refused(["layer4.0.bn1", "1x1", "train.drop_last"], *ONE_PIXEL,
                            *sets("train.batch=64", "method=dense"))
        self.assert_refused(["layer4.0.bn1", "raise train.batch"], *ONE_PIXEL,
                            *sets("train.batch=1", "method=dense"))
        # The advice is followed.
        out = self.folder / "dropped"
        self.finish(self.config, *ONE_PIXEL, "--out", out,
                    *sets("train.batch=64", "method=dense", "train.drop_last=true",
                          "train.epochs=1", "cycles.count=1"))
        self.assertIn('"steps": 2', (out / "summary.json").read_text())
        self.assert_refused(["train.drop_last", "lower train.batch"],
                            *sets("train.drop_last=true", "train.batch=97"))

    def test_batch_larger_than_the_data(self):
        done = sculpt_run(self.config, "--plan", *sets("train.batch=128"))
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: train.batch = 128 is more than the 96 training images", done.stderr)

    def test_output_folder(self):
        blocked = self.write("file", "text")
        for more in ([], ["--plan"]):
            self.assert_fails(2, ["is not a folder", "--out"], self.config, "--out",
                              blocked / "run", *more)
            self.assert_fails(2, ["--out"], self.config, "--out",
                              self.folder / ("x" * 300) / "run", *more)
        self.assertEqual(blocked.read_text(), "text")

    def test_rewind_file_when_resuming(self):
        words = [self.config, *custom("train 2", "prune magnitude global 0.5", "train 40",
                                      "rewind 1", "train 1")]
        for damage in ("missing", "damaged"):
            out = self.folder / damage
            process = start(*words, "--out", out)
            for line in process.stdout:
                if "cycle 2" in line:
                    break
            process.terminate()
            process.communicate()
            self.assertEqual(process.returncode, 75)
            rewind = out / "checkpoints" / "rewind-epoch-1.safetensors"
            if damage == "missing":
                rewind.unlink()
            else:
                data = bytearray(rewind.read_bytes())
                data[-5] ^= 1
                rewind.write_bytes(data)
            before = [path.read_bytes() for path in states(out)]
            for more in ([], ["--plan"]):
                self.assert_fails(2, ["cannot rewind to epoch 1", rewind], *words, "--out", out,
                                  "--resume", *more)
            self.assertEqual([path.read_bytes() for path in states(out)], before)


class Plans(ProgramTest):
    def test_settings_without_effect_are_named_once(self):
        words = [self.config, *sets("method=dense", "cycles.rewind_epoch=3")]
        for more in (["--plan"], ["--out", self.folder / "run"]):
            done = sculpt_run(*words, *more)
            self.assertEqual(done.returncode, 0, done.stderr)
            warnings = [line for line in done.stderr.splitlines() if "have no effect" in line]
            self.assertEqual(len(warnings), 1, done.stderr)
            self.assertIn('prune.sparsity (method = "dense")', warnings[0])
            self.assertIn("cycles.rewind_epoch", warnings[0])
            self.assertNotIn("have no effect", done.stdout)

    def test_cycles_are_timed_at_their_density(self):
        text = self.finish(self.config, "--plan", "--threads", 1, *sets(
            "method=imp", "prune.sparsity=0.99", "prune.rate=0.9", "model.width=2",
            "train.batch=96"))
        self.assertIn("each cycle's density", text)
        rows = re.findall(r"^ *\d+  train .*$", text, re.MULTILINE)
        self.assertEqual(len(rows), 3)


if __name__ == "__main__":
    main()

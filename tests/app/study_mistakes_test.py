"""sculpt_study: mistakes in a study, its folder and its arguments get one clear message."""

from study_common import STUDY, NAMES, StudyTest, study, run_study_tests


class Mistakes(StudyTest):
    def test_mistakes_are_named_before_anything_runs(self):
        self.file = self.write("typo.toml", STUDY + "optim.larning_rate = 1\n")
        self.refuse("typo.toml:13: there is no key 'optim.larning_rate'")
        self.file = self.write("value.toml", STUDY + "prune.sparsity = 1.5\n")
        self.refuse("value.toml:13")
        self.file = self.write("method.toml", STUDY.replace('"cyclic"', '"ciclyc"'))
        self.refuse('did you mean "cyclic"?')
        # The network is built before the first run: an epoch would have no step.
        self.file = self.write("batch.toml", STUDY + "train.batch = 128\ntrain.drop_last = true\n")
        self.refuse("run 003-cyclic-s1: an epoch has no step")
        # The data set is missing: one message, and not one for each run.
        self.file = self.write("data.toml", STUDY + 'data = { name = "cifar10", root = "none" }\n')
        self.refuse("run 003-cyclic-s1: data.root: there is no folder 'none'; `tools/get_data cifar10")
        self.file = self.write("two.toml", STUDY)
        self.refuse("there is no program", "--program", self.folder / "none")
        self.refuse("--index 5: the study has runs 1 to 4", "--index", 5)
        self.refuse("has no sizes", "--size", "laptop")
        done = study(self.folder / "none.toml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no study file", done.stderr)

    def test_a_run_that_is_refused_has_failed_although_it_was_locked_once(self):
        program = self.write("refusing", "#!/bin/sh\necho 'error: no such device' >&2\nexit 2\n")
        program.chmod(0o755)
        (self.out / "logs").mkdir(parents=True)
        (self.out / "logs" / "001-sculpt-s1.log").write_text("== 1\nerror: x is in use by process 1 on vm\n")
        done = self.run_study("--program", program, "--index", 1, code=1)
        self.assertIn("error: no such device", done.stderr)

    def test_an_index_that_cannot_be_written_is_an_error(self):
        self.run_study("--set", "vary.seed=[1]")
        (self.out / "index.sqlite" / "folder").mkdir(parents=True)
        done = study("index", self.out)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Aerror: the index \S+ cannot be made again: .*\n\Z")
        self.assertIn("is one run", study("index", self.out / "001-sculpt-s1").stderr)

    def test_exclusions_that_leave_out_nothing_are_named(self):
        excluded = '[[exclude]]\nvariant = "cyclic"\nseed = 2\n'
        self.file.write_text(STUDY + excluded + "[[exclude]]\nprune.sparsity = 0.8\n")
        self.refuse("two.toml:16: [[exclude]] names prune.sparsity", "--list")
        self.file.write_text(STUDY + excluded + '[[exclude]]\nmethod = "imp"\n')
        done = self.run_study("--list")
        self.assertIn("two.toml:16: this [[exclude]] leaves out no run", done.stderr)
        self.assertNotIn("two.toml:13", done.stderr)
        self.assertNotIn(NAMES[3], done.stdout)

    def test_what_cannot_be_compared_or_analysed_is_named_before_anything_runs(self):
        claim = '[[claim]]\nid = "C"\ntext = "t"\nbetter = "sculpt"\nthan = "cyclic"\n'
        for part, text in (
                ("the analysis `hessian --tip 3`: there is no option --tip; did you mean --top?",
                 'analyze = ["hessian --tip 3"]\n' + STUDY),
                ("set train.keep", 'analyze = ["connectivity"]\n' + STUDY),
                ('direction = "higher"', STUDY + claim + 'metric = "sparsity"\n'),
                ("does not make this analysis", STUDY + claim + 'metric = "analysis.flips.x"\ndirection = "lower"\n'),
                ("paired by their seeds", STUDY + claim + 'over = ["seed"]\n'),
                ("the same runs with themselves", STUDY + claim.replace('"cyclic"', '"sculpt"')),
                ("both belong to the side", STUDY.replace("seed = [1, 2]", "optim.lr = [0.1, 0.2]") + claim)):
            with self.subTest(part):
                self.file.write_text(text)
                self.refuse(part)

    def test_the_folder_of_another_study_is_refused(self):
        self.run_study()
        self.file = self.write("three.toml", STUDY)
        done = self.run_study(code=2)
        self.assertIn("is the folder of another study", done.stderr)

    def test_the_folder_of_a_run_is_refused(self):
        self.run_study("--index", 1)
        run = self.out / NAMES[0]
        before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
        done = self.run_study(code=2, out=run)
        self.assertIn(f"{run} is the folder of a run; choose another folder with --out", done.stderr)
        self.assertEqual({path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}, before)

    def test_settings_of_the_base_that_a_method_does_not_read_give_no_warning(self):
        self.file = self.write("unused.toml", STUDY.replace('method = "cyclic"', 'method = "dense"'))
        self.assertNotIn("have no effect", self.run_study("--dry-run").stderr)
        self.file = self.write("unused.toml", STUDY.replace('method = "cyclic"', 'method = "dense"\nprune.sparsity = 0.7'))
        self.assertIn("run 003-cyclic-s1 and 1 more: these settings have no effect: prune.sparsity",
                      self.run_study("--dry-run").stderr)

    def test_a_missing_config_is_named(self):
        self.run_study("--index", 1, "--set", "train.epochs=40")
        (self.out / NAMES[0] / "config.toml").unlink()
        done = self.run_study("--index", 1, "--set", "train.epochs=40", code=1)
        self.assertIn("holds a run, but its config.toml is missing; put the file back (a study keeps a copy", done.stderr)

    def test_help_and_wrong_arguments(self):
        for words in ([], ["ls"], ["diff"], ["index"]):
            done = study(*words, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("--help", done.stdout)
        done = study(self.file, "--lsit")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean --list?", done.stderr)
        done = study("lss")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean sculpt_study ls?", done.stderr)
        done = study()
        self.assertEqual(done.returncode, 2)
        self.assertNotIn("did you mean", done.stderr)
        done = study("lss", self.folder, "--runs")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean sculpt_study ls?", done.stderr)


if __name__ == "__main__":
    run_study_tests()

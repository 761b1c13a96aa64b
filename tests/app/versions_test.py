"""Configs and run folders of older versions: old names of keys, keys that a folder lacks, formats."""
import json
import re
import struct
import sys

from common import (ROOT, TINY, ProgramTest, content_of, final, main, records, sculpt_run, start,
                    states)
from tensors import WORD, with_right_checksum

sys.path.insert(0, str(ROOT / "tools"))
import run_folder  # noqa: E402

NO_EFFECT = {"data.root", "train.checkpoint_every", "train.checkpoint_steps", "train.step_graph",
             "train.dense_timing", "train.conv"}
NEWER_THAN_VERSION_1 = {"optim.rule", "execution.device", "execution.threads", "prune.exempt",
                        "dist.liveness_seconds", "dist.collective_seconds", "dist.reduction",
                        "dist.logical_ranks", "dist.sync_batch_norm", "dist.exchange", "dist.bucket_mb",
                        "train.accumulate", "train.keep", "data.crop_fill", "data.label_noise",
                        "data.label_noise_seed", "prune.final_criterion", "prune.rescale_to_kept_fan"}
NEWER_THAN_VERSION_1 |= {f"optim.{name}" for name in ("beta1", "beta2", "epsilon", "ham", "ham_alpha", "ham_beta",
                                                       "sign_in", "sign_in_beta", "ema")}
NEWER_THAN_VERSION_1 |= {f"masks.{name}" for name in ("rule", "interval", "drop", "begin", "end", "sparse_from",
                                                       "dense_from", "str_init")}
OLD_NAMES = {now: old for old, now in run_folder.RENAMED_KEYS.items()}
# A run in which every section of version 1 says something.
SETTINGS = ["--set", "train.checkpoint_steps=1", "--set", "optim.lr=0.05", "--set",
            "execution.winograd=off"]


def lines_of_version_1(config, leave_out=()):
    """config.toml as version 1 wrote it: [(key, "name = value")] in the old sections."""
    values, section = [], ""
    for line in config.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1] + "."
        elif line and not line.startswith("format"):
            name, _, value = line.partition(" = ")
            key = section + name
            if key not in NEWER_THAN_VERSION_1:
                values.append((OLD_NAMES.get(key, key), value))
    return [(key, value) for key, value in values if key not in leave_out]


def config_of(values):
    """TOML with the top first, then a section for each of the keys'."""
    text = "".join(f"{key} = {value}\n" for key, value in values if "." not in key)
    for section in dict.fromkeys(key.split(".")[0] for key, _ in values if "." in key):
        text += f"\n[{section}]\n" + "".join(f"{key.split('.')[1]} = {value}\n" for key, value in values
                                            if key.startswith(section + "."))
    return text


def hash_of(values):
    """The hash of a config as version 1 computed it: FNV-1a over sorted lines."""
    state = 0xCBF29CE484222325
    for key, value in sorted(values):
        if key not in NO_EFFECT:
            for byte in f"{key}={value}\n".encode():
                state = (state ^ byte) * 0x100000001B3 & WORD
    return f"{state:016x}"


def tensor_data(folder):
    """The bytes of the final checkpoint after its header."""
    content = final(folder)
    return content[8 + struct.unpack("<Q", content[:8])[0]:]


class OldNames(ProgramTest):
    def test_a_config_with_old_names_is_the_same_run(self):
        text = TINY.replace("[optim]\n", "") + "\n[wr]\nrewind_epoch = 3\n"
        old = self.write("old.toml", text.replace("batch = 32", "batch = 32\nsparse = 'off'"))
        done = sculpt_run(old, "--out", self.folder / "old", "--set", "train.lr=0.05")
        self.assertEqual(done.returncode, 0, done.stderr)
        notes = re.findall(r"^note: (?:.*\n(?: .*\n)*)", done.stderr, re.MULTILINE)
        self.assertEqual(len(notes), 1, done.stderr)
        note = " ".join(notes[0].split())
        for part in ("old names", "train.lr, train.schedule (in [optim] now)",
                     "train.sparse (in [execution] now)", "wr.rewind_epoch (in [cycles] now)"):
            self.assertIn(part, note)
        done = sculpt_run(self.config, "--out", self.folder / "new", "--set", "optim.lr=0.05", "--sparse",
                          "off", "--set", "cycles.rewind_epoch=3")
        self.assertNotIn("note:", done.stderr)
        self.assertEqual(final(self.folder / "old"), final(self.folder / "new"))
        self.assertEqual((self.folder / "old" / "config.toml").read_text(),
                         (self.folder / "new" / "config.toml").read_text())

    def test_both_names_are_refused(self):
        both = self.write("both.toml", TINY.replace("batch = 32", "batch = 32\nsparse = 'on'") +
                          "[execution]\nsparse = 'off'\n")
        self.assert_fails(2, ["train.sparse is the old name of execution.sparse", "both.toml:"], both)
        self.assert_fails(2, ["train.lr and optim.lr are the old and the new name"], self.config, "--set",
                          "train.lr=1", "--set", "optim.lr=1")
        self.assert_fails(2, ["did you mean optim.momentum?"], self.config, "--set", "train.momentm=0.5")


class OldFolders(ProgramTest):
    def setUp(self):
        super().setUp()
        self.whole = self.folder / "whole"
        self.finish(self.config, "--out", self.whole, *SETTINGS, "--threads", "1")

    def interrupted(self, name):
        """A run folder with states, of a run that was killed."""
        out = self.folder / name
        process = start(self.config, "--out", out, *SETTINGS, "--threads", "1")
        while process.poll() is None and not (states(out) and (out / "metrics.jsonl").exists()):
            pass
        process.kill()
        process.communicate()
        self.assertTrue(states(out), "the run was over before it could be killed")
        return out

    def to_version_1(self, out, leave_out=()):
        """Makes config.toml what a program of version 1 would have left, and the hashes in checkpoints
        those of its config. Returns the keys and values."""
        values = lines_of_version_1((out / "config.toml").read_text(), leave_out)
        (out / "config.toml").write_text(config_of(values))
        for path in (out / "checkpoints").glob("*.safetensors"):
            content = path.read_bytes()
            size = struct.unpack("<Q", content[:8])[0]
            header = content[8:8 + size]
            entries = json.loads(header)
            metadata = entries.pop("__metadata__")
            if not leave_out:
                # Without changes: the hash did not change when keys moved.
                self.assertEqual(metadata["config_hash"], hash_of(values))
                continue
            with_header(path, lambda text: text.replace(metadata["config_hash"], hash_of(values)))
        return values

    def test_an_old_folder_resumes_to_the_same_bytes(self):
        out = self.interrupted("run")
        self.to_version_1(out)
        done = sculpt_run("--resume", out, "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("note:"), 1, done.stderr)
        self.assertIn("going on after", done.stdout)
        self.assertEqual(final(out), final(self.whole))
        config = (out / "config.toml").read_text()
        self.assertIn('format = "sculpt-config-2"', config)
        self.assertIn("[optim]", config)
        # Finished, and asked for once more; and extended.
        self.to_version_1(out)
        self.assertIn("the run has finished", self.finish("--resume", out))
        self.finish("--resume", out, "--set", "cycles.final=2", "--threads", "1")
        self.finish(self.config, "--out", self.folder / "longer", *SETTINGS, "--set", "cycles.final=2",
                    "--threads", "1")
        self.assertEqual(final(out), final(self.folder / "longer"))

    def test_a_folder_that_lacks_a_newer_key_resumes(self):
        # Keys of this version that a folder of the version before does not have.
        out = self.interrupted("run")
        config = out / "config.toml"
        text = config.read_text()
        for line in ('rule = "sgd"\n', "exempt = []\n", 'device = "auto"\n'):
            self.assertIn(line, text)
            text = text.replace(line, "")
        config.write_text(text)
        self.finish("--resume", out)
        self.assertEqual(final(out), final(self.whole))

    def test_a_folder_that_lacks_an_old_key_resumes_more_than_once(self):
        # train.drop_last is younger than the first run folders, and their hashes do not have it. What
        # such runs did is today's default. Before train.winograd, runs had what is now "off".
        out = self.interrupted("run")
        values = self.to_version_1(out, leave_out={"train.drop_last", "train.winograd"})
        for words in (["--set", "train.checkpoint_steps=2"], []):
            process = start("--resume", out, "--threads", "1", *words)
            while process.poll() is None and not states(out):
                pass
            process.kill()
            process.communicate()
            config = (out / "config.toml").read_text()
            self.assertNotIn("drop_last", config)
            self.assertNotIn("winograd", config)
        self.assert_fails(2, ["train.drop_last: false in the folder, true now"], "--resume", out, "--set",
                          "train.drop_last=true")
        self.assert_fails(2, ['execution.winograd: "off" in the folder, "auto" now'], "--resume", out,
                          "--set", "execution.winograd=auto")
        self.finish("--resume", out, "--threads", "1")
        self.assertIn(hash_of(values).encode(), final(out))
        self.assertEqual(tensor_data(out), tensor_data(self.whole))
        self.assertEqual(records(out / "metrics.jsonl"), records(self.whole / "metrics.jsonl"))
        self.assertEqual(records(out / "layers.jsonl"), records(self.whole / "layers.jsonl"))

    def test_a_changed_value_is_refused_under_either_name(self):
        out = self.interrupted("run")
        self.to_version_1(out)
        before = (out / "config.toml").read_text()
        for key in ("optim.lr", "train.lr"):
            self.assert_fails(2, ["optim.lr: 0.05 in the folder, 0.3 now"], "--resume", out, "--set",
                              f"{key}=0.3")
        self.assertEqual((out / "config.toml").read_text(), before)
        (out / "config.toml").write_text(before.replace("lr = 0.05", "lr = 0.06"))
        self.assert_fails(2, ["is not the config that"], "--resume", out)

    def test_threads_are_those_of_the_run(self):
        out = self.interrupted("run")
        self.assertIn("threads = 1", (out / "config.toml").read_text())
        done = sculpt_run("--resume", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("threads", done.stderr)
        self.assertEqual(json.loads((out / "environment.json").read_text())["threads"], 1)


def with_header(path, change):
    """Writes a checkpoint again with another header: `change` takes and returns its text. The checksum fits
    the new header."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    text = change(content[8:8 + size].decode())
    path.write_bytes(with_right_checksum(struct.pack("<Q", len(text)) + text.encode() + content[8 + size:]))


class Formats(ProgramTest):
    """Files of a newer program are refused by name. They are not called damaged, and no message advises
    another copy of them or a start from the beginning."""

    def assert_newer(self, path, newer, *words):
        done = self.assert_fails(2, [path, newer, "newer", "use the program that wrote the file"], *words)
        for wrong in ("damaged", "good copy", "--restart"):
            self.assertNotIn(wrong, done.stderr)

    def raise_version(self, path):
        """Gives a checkpoint the next version of its format, and returns that."""
        formats = []

        def change(text):
            old = re.search(r'"format":"(sculpt-\w+-)(\d+)"', text)
            formats.append(old[1] + str(int(old[2]) + 1))
            return text.replace(old[1] + old[2], formats[-1])
        with_header(path, change)
        return formats[0]

    def test_newer_files_of_a_finished_run(self):
        out = self.folder / "run"
        self.finish(self.config, "--out", out)
        names = {"summary.json": ("sculpt-summary-1", "sculpt-summary-2"),
                 "config.toml": ("sculpt-config-2", "sculpt-config-3")}
        for kind in ("metrics", "layers", "prunes"):
            names[f"{kind}.jsonl"] = (f"sculpt-{kind}-1", f"sculpt-{kind}-2")
        for name, (now, newer) in names.items():
            with self.subTest(name):
                path = out / name
                text = path.read_text()
                self.assertIn(now, text)
                path.write_text(text.replace(now, newer))
                before = content_of(out)
                self.assert_newer(path, newer, "--resume", out)
                self.assertEqual(content_of(out), before)
                path.write_text(text)
        path = out / "environment.json"
        text = path.read_text()
        self.assertIn('"sculpt-environment-1"', text)
        path.write_text(text.replace("environment-1", "environment-2"))
        done = sculpt_run("--resume", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("has the newer format sculpt-environment-2", done.stderr)
        path.write_text(text)
        self.assertEqual(sculpt_run("--resume", out).stderr, "")

    def test_newer_checkpoints(self):
        out, cut = self.folder / "run", self.folder / "cut"
        self.finish(self.config, "--out", out)
        final_file, end = (out / "checkpoints" / name for name in ("final.safetensors", "end.safetensors"))
        good = end.read_bytes()
        newer = self.raise_version(end)
        self.assert_newer(end, newer, "--resume", out, "--set", "cycles.final=2")
        (out / "summary.json").unlink()
        self.assert_fails(2, ["summary.json is missing, and it cannot be written again", end, newer],
                          "--resume", out)
        end.write_bytes(good)
        newer = self.raise_version(final_file)
        self.assert_newer(final_file, newer, "--resume", out)
        self.interrupt(cut, self.config)
        for path in states(cut):
            newer = self.raise_version(path)
        before = content_of(cut)
        self.assert_newer(states(cut)[0], newer, "--resume", cut)
        self.assertEqual(content_of(cut), before)

    def test_records_with_the_format_of_something_else(self):
        out = self.folder / "run"
        self.interrupt(out, self.config)
        path = out / "layers.jsonl"
        text = path.read_text()
        self.assertIn('"sculpt-layers-1"', text)
        path.write_text(text.replace('"sculpt-layers-1"', "{}"))
        done = sculpt_run("--resume", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("layers.damaged-1.jsonl", done.stderr)
        self.assertIn('"sculpt-layers-1"', path.read_text())
        self.assertNotIn('"format":{}', path.read_text())


class FolderConfigs(ProgramTest):
    def test_what_is_wrong_with_a_config(self):
        out = self.folder / "run"
        self.interrupt(out, self.config)
        path = out / "config.toml"
        text = path.read_text()
        lost = text
        for line in ("batch = 32\n", 'device = "auto"\n', "threads = 0\n"):
            self.assertIn(line, lost)
            lost = lost.replace(line, "")
        path.write_text(lost)
        done = self.assert_fails(2, [path, "it was edited or damaged", "(the key train.batch is missing)"], "--resume",
                                 out)
        self.assertNotIn("execution", done.stderr)
        path.write_text(text.replace("lr = 0.1", "lr = -1.0"))
        self.assert_fails(2, [f"{path}:", "optim.lr = -1.0 is out of range", "put a good copy of the file back"],
                          "--resume", out)
        path.write_text(text)
        done = self.assert_fails(2, ["--set optim.lr=-1:", "out of range"], "--resume", out, "--set",
                                 "optim.lr=-1")
        self.assertNotIn("good copy", done.stderr)


if __name__ == "__main__":
    main()

"""The advice in messages about memory, threads and missing files is followed, and must help."""
import os
import re
import shlex
import struct
import subprocess
import sys
import unittest

from common import PROGRAM, ROOT, TIMEOUT, ProgramTest, main, sculpt_run, sets

SMALL = [word for setting in ("method=pai", "train.epochs=1", "model.name=mlp", "model.width=0.05")
         for word in ("--set", setting)]


@unittest.skipIf(os.environ.get("SCULPT_SANITIZE"), "a sanitizer reserves all of the address space")
class Limits(ProgramTest):
    def limited(self, kibibytes, *words):
        """Runs sculpt_run with a limit on its address space."""
        shell = f"ulimit -v {kibibytes}; exec " + shlex.join([PROGRAM, str(self.config),
                                                              *map(str, words)])
        return subprocess.run(["bash", "-c", shell], capture_output=True, text=True,
                              timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL)

    def assert_helps(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_memory_of_a_step(self):
        words = ["--plan", *sets("model.width=0.25", "data.synthetic_train=1000")]
        large = sets("train.batch=1000")
        done = self.limited(300_000, *words, *large)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, r"out of memory: cannot allocate [\d.]+ MiB for activations.*; "
                         r"use a smaller batch \(train\.batch\) or a smaller model")
        self.assert_helps(self.limited(300_000, *words, *sets("train.batch=16")))
        self.assert_helps(self.limited(300_000, *words, *large, *sets("model.name=mlp")))

    def test_memory_of_the_images(self):
        words = [*SMALL, "--out", self.folder / "run", *sets("data.train_limit=64")]
        done = self.limited(300_000, *words, *sets("data.synthetic_train=200000"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("error: out of memory: ", done.stderr)
        self.assertIn("use a smaller batch, model or data set, or raise the limit (ulimit -v)",
                      done.stderr)
        self.assert_helps(self.limited(300_000, *words, *sets("data.synthetic_train=96")))

    def test_threads(self):
        """Under a growing limit, a program with 12 threads first cannot start a thread.

        What fails at a given limit depends on the machine: its libraries and its allocator. So each
        failure may be one of two, and where a thread failed, fewer threads must help.
        """
        words = [*SMALL, "--threads=12"]
        helped = 0
        for kibibytes in (100_000, 115_000, 130_000):
            done = self.limited(kibibytes, *words, "--out", self.folder / f"run{kibibytes}")
            if done.returncode == 0:
                continue
            self.assertIn(done.returncode, (1, 2), done.stderr)
            self.assertRegex(done.stderr, r"error: (cannot start a thread that \w+.*; use fewer "
                             r"threads \(--threads\), or allow this program more processes and "
                             r"memory \(ulimit -u, ulimit -v\)|out of memory: .*; use a smaller )")
            if "cannot start a thread" in done.stderr:
                self.assert_helps(self.limited(kibibytes, *SMALL, "--threads=1", "--out",
                                               self.folder / f"fewer{kibibytes}"))
                helped += 1
        self.assertGreater(helped, 0, "no limit kept a thread from starting")
        self.assert_helps(self.limited("unlimited", *words, "--out", self.folder / "more"))


def idx(path, count, side):
    """Writes a file with the size of MNIST's file. Its labels and pixels are 0."""
    header = struct.pack(">II", 0x803 if side else 0x801, count)
    header += struct.pack(">II", side, side) if side else b""
    path.write_bytes(header)
    os.truncate(path, len(header) + count * (side * side if side else 1))


class Files(ProgramTest):
    """Runs `tools/get_data` as the messages name it, with a folder instead of a server."""

    def setUp(self):
        super().setUp()
        self.source = self.folder / "source"
        self.source.mkdir()
        self.root = self.folder / "my data"

    def mnist(self):
        for stem, count in (("train", 60000), ("t10k", 10000)):
            idx(self.source / f"{stem}-images-idx3-ubyte", count, 28)
            idx(self.source / f"{stem}-labels-idx1-ubyte", count, 0)
        return "mnist"

    def cifar10(self):
        for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
            (self.source / name).touch()
            os.truncate(self.source / name, 10000 * 3073)
        return "cifar10"

    def run_on(self, data, root=None):
        return sculpt_run(self.config, *SMALL, "--restart", "--out", self.folder / "run", *sets(
            f"data.name={data}", f"data.root={root or self.root}", "data.train_limit=64",
            "data.test_limit=32"))

    def get(self, command):
        words = shlex.split(command)
        self.assertTrue((ROOT / words[0]).is_file(), command)
        done = subprocess.run([sys.executable, ROOT / words[0], *words[1:], "--from", self.source],
                              capture_output=True, text=True, check=False, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def follow(self, data):
        """Follows the message: deletes the file and fetches it again. The run must then succeed."""
        done = self.run_on(data)
        self.assertIn(done.returncode, (1, 2), done.stdout)
        advice = re.search(r"^error: (?:data\.root: )?(.*?): .*?(; delete it, and|;) "
                           r"`(tools/get_data [^`]*)` fetches the data set$", done.stderr, re.M)
        self.assertIsNotNone(advice, done.stderr)
        if "delete" in advice[2]:
            os.remove(advice[1])
        self.get(advice[3])
        again = self.run_on(data)
        self.assertEqual(again.returncode, 0, again.stderr)
        return done.stderr

    def test_mnist(self):
        data = self.mnist()
        done = sculpt_run(self.config, *SMALL, *sets("data.name=mnist"), "--out",
                          self.folder / "run")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("set data.root to their folder", done.stderr)
        self.get(re.search(r"`(.*)` fetches", done.stderr)[1].replace("DIR", "DIR2"))
        self.assertEqual(self.run_on(data, self.folder / "DIR2").returncode, 0)

        done = self.run_on(data)
        self.assertIn("no folder", done.stderr)
        self.get(re.search(r"`(.*)` fetches", done.stderr)[1])
        self.assertEqual(self.run_on(data).returncode, 0)

        images, labels = self.root / "train-images-idx3-ubyte", self.root / "train-labels-idx1-ubyte"
        for file, size in ((images, 1000), (images, 5)):
            os.truncate(file, size)
            self.follow(data)
        for file, offset, byte in ((labels, 20, b"\x0b"), (labels, 2, b"\x09")):
            with file.open("r+b") as stream:
                stream.seek(offset)
                stream.write(byte)
            self.follow(data)  # the size is right: get_data alone would leave the file
        images.unlink()
        self.assertIn("holds no train-images-idx3-ubyte", self.run_on(data).stderr)

    def test_packed_files(self):
        data = self.mnist()
        self.root.mkdir()
        for file in self.source.iterdir():
            file.rename(self.root / file.name)
        labels = self.root / "t10k-labels-idx1-ubyte"
        subprocess.run(["gzip", labels], check=True)
        done = self.run_on(data)
        advice = re.search(r"unpack it with `(gunzip .*)`$", done.stderr, re.M)
        self.assertIsNotNone(advice, done.stderr)
        subprocess.run(shlex.split(advice[1]), check=True)
        self.assertEqual(self.run_on(data).returncode, 0)

    def test_cifar10(self):
        """The files lie in the folders that archives create, where get_data does not look."""
        data = self.cifar10()
        pickled = self.root / "cifar-10-batches-py"
        pickled.mkdir(parents=True)
        for name in ("data_batch_1", "data_batch_2"):
            (pickled / name).write_bytes(b"no pickle")
        self.assertIn("as pickled for Python", self.follow(data))
        for file in self.root.glob("*.bin"):
            file.unlink()
        binary = self.root / "cifar-10-batches-bin"
        binary.mkdir()
        for file in self.source.iterdir():
            (binary / file.name).symlink_to(file)
        self.assertEqual(self.run_on(data).returncode, 0)
        (binary / "data_batch_3.bin").unlink()
        self.assertIn("there is no such file", self.follow(data))
        self.assertTrue((self.root / "data_batch_3.bin").exists())


if __name__ == "__main__":
    main()

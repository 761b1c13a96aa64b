"""The advice in the messages of the scripts is followed. Messages name only things that exist."""
import ast
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run

import run_folder  # noqa: E402  (of tools/)
import splits  # noqa: E402
from settings_test import keys_of_the_engine  # noqa: E402
from training_recipe import Recipe, RecipeError  # noqa: E402

SOURCES = [path for folder in ("engine", "data", "models", "kernels", "apps")
           for path in sorted((ROOT / folder).rglob("*.cpp"))]
SCRIPTS = [*sorted(TOOLS.rglob("*.py")), *(TOOLS / name for name in ("get_data", "run_methods",
                                                                     "gpu_check"))]
SHELL = [TOOLS / name for name in ("quickstart", "test", "setup_common.sh")]


def literals(path):
    """Returns the texts of a source file. Neighbouring literals are one text."""
    content = path.read_text(encoding="utf-8")
    if path in SCRIPTS:
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    elif path in SHELL:
        yield re.sub(r"^\s*#.*$", "", content, flags=re.M)
    else:
        for run_of in re.findall(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', content):
            yield "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', run_of))


class Names(unittest.TestCase):
    """The files and options that messages name exist."""

    def all_of(self, pattern, without=()):
        found = {}
        for path in (*SOURCES, *SCRIPTS, *SHELL):
            if path in without:
                continue
            for text in literals(path):
                for name in re.findall(pattern, text):
                    found.setdefault(name, path)
        return found

    def test_files(self):
        found = self.all_of(r"\b((?:tools|docs|configs)/[\w./-]*\w)")
        self.assertGreater(len(found), 15)
        for name, path in found.items():
            place = ROOT / name
            self.assertTrue(place.exists() or any(place.parent.glob(place.name + ".*")),
                            f"{path} names {name}")

    def test_settings(self):
        keys = set(keys_of_the_engine())
        sections = {key.split(".")[0] for key in keys if "." in key}
        found = self.all_of(rf"(?<![\w./-])((?:{'|'.join(sections)})\.[a-z_]+)\b(?![\w./(])",
                            # The tables of old names.
                            {ROOT / "apps" / "sculpt_run" / "key_names.cpp", TOOLS / "run_folder.py"})
        self.assertGreater(len(found), 40)
        # These are names of files and a pattern of other programs.
        for name in set(found) - keys:
            self.assertRegex(name, r"\.(csv|json|toml|md|py|bin|cpp|txt)$",
                             f"{found[name]} names {name}")

    def test_options(self):
        known = {"--preset", "--build", "--target",  # of CMake
                 "--mpi", "--bind-to", "--oversubscribe", "--allow-run-as-root",  # of srun and mpirun
                 "--shm-size", "--ipc",  # of docker
                 "--logdir"}  # of tensorboard
        for path in (*(ROOT / "apps").rglob("*.cpp"), *SCRIPTS):
            known |= set(re.findall(r'add_(?:option|flag|argument|count|option_function<[^(]*>)\((?:\*?parser, )?\s*"(?:-\w,? *"?)?.*?(--[a-z-]+)',
                                    path.read_text(encoding="utf-8")))
        for path in SHELL:
            known |= set(re.findall(r"^ +(--[a-z-]+)(?: [A-Z]+)?  ", path.read_text(), re.M))
        messages = {}
        for path in SOURCES:
            for text in literals(path):
                for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text):
                    messages[option] = path
        self.assertGreater(len(messages), 15)
        for option, path in messages.items():
            self.assertTrue(any(option in (k, "--no-" + k[2:]) for k in known),
                            f"{path} names {option}")

    def test_targets_of_builds(self):
        files = [*ROOT.glob("*/CMakeLists.txt"), *ROOT.glob("tests/*/CMakeLists.txt")]
        text = "".join(path.read_text() for path in files)
        for target in self.all_of(r"--target ([a-z_]+)"):
            self.assertRegex(text, rf"add_executable\({target}\b", target)


class Recipes(unittest.TestCase):
    def test_refusals(self):
        for given, advice, follow in (
                ("execution.precision=bf16", r"use --set (\S+)$", lambda m: m[1]),
                ("model.init_from=x.safetensors", r"use --set (\S+)$", lambda m: m[1]),
                ("optim.schedule=polynomial", r"there are (\w+)", lambda m: f"optim.schedule={m[1]}"),
                ("train.optimizer=adamw", r"take it out of the config$", None)):
            config = {}
            run_folder.set_value(config, given)
            with self.subTest(given), self.assertRaises(RecipeError) as refused:
                Recipe(config)
            found = re.search(advice, str(refused.exception))
            self.assertIsNotNone(found, refused.exception)
            if follow is None:
                config = {}
            else:
                word, = shlex.split(follow(found))  # as a shell gives it to the program
                run_folder.set_value(config, word)
            Recipe(config)

    def test_split(self):
        with self.assertRaisesRegex(splits.SplitError, "choose a smaller fraction"):
            splits.split(10, 3, 1, 0.99)
        self.assertEqual(len(splits.split(10, 3, 1, 0.3)["train"]), 7)


class RunMethods(unittest.TestCase):
    def test_another_folder_and_a_program(self):
        from settings_test import RunMethods as Stand
        with tempfile.TemporaryDirectory() as folder:
            words = [TOOLS / "run_methods", "--data", folder, "--table", f"{folder}/table.md",
                     "--program", f"{folder}/program", "--only", "dense"]
            done = run(*words, "--out", f"{folder}/out")
            self.assertRegex(done.stderr, r"is not there; tools/quickstart or tools/test builds it")
            (Path(folder) / "program").write_text(Stand.PROGRAM)
            (Path(folder) / "program").chmod(0o755)
            self.assertEqual(run(*words, "--out", f"{folder}/out").returncode, 0)
            other = [*words, "--set", "data.val_split=0.1"]
            self.assertIn("name another --out", run(*other, "--out", f"{folder}/out").stderr)
            self.assertEqual(run(*other, "--out", f"{folder}/other").returncode, 0)


# This compiler finds headers only in the folders of CPATH.
COMPILER = """#!/usr/bin/env bash
[[ "$1" == -dumpfullversion ]] && { echo 12.2.0; exit; }
read -r line
header="${line#*<}"; header="${header%>*}"
IFS=:; for folder in $CPATH; do [[ -e "$folder/$header" ]] && exit 0; done
exit 1
"""


class SetUp(unittest.TestCase):
    """Runs tools/setup_common.sh on a machine that lacks a program or a header."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in ("bash", "dirname", "sort", "head", "sed", "cat", "env", "git", "python3"):
            (self.bin / name).symlink_to(shutil.which(name))
        self.program("compiler", COMPILER)
        self.program("cmake", "#!/usr/bin/env bash\necho cmake version 3.25.1\n")
        self.program("ninja", "#!/usr/bin/env bash\n")
        self.program("id", "#!/usr/bin/env bash\necho 1000\n")
        self.include = self.folder / "include"
        for header in ("fmt/core.h", "doctest/doctest.h", "CLI/CLI.hpp", "nlohmann/json.hpp",
                       "toml++/toml.h", "sqlite3.h"):
            (self.include / header).parent.mkdir(parents=True, exist_ok=True)
            (self.include / header).touch()

    def program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def dependencies(self, install, **environment):
        return subprocess.run(
            ["bash", "-euc", f"source {shlex.quote(str(TOOLS / 'setup_common.sh'))}; "
             f"setup_dependencies {install}"], capture_output=True, text=True, check=False,
            timeout=60, env={"PATH": str(self.bin), **environment})

    def test_compiler_and_headers_elsewhere(self):
        done = self.dependencies("no")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"g\+\+: .*\(or set CXX\)")
        done = self.dependencies("no", CXX="compiler")
        self.assertNotIn("g++:", done.stderr)
        self.assertRegex(done.stderr, r"header <fmt/core.h>; if it lies elsewhere, set CPATH to its")
        done = self.dependencies("no", CXX="compiler", CPATH=str(self.include))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_release_of_tomlplusplus(self):
        shutil.rmtree(self.include / "toml++")
        here = {"CXX": "compiler", "CPATH": str(self.include)}
        done = self.dependencies("no", **here)
        self.assertEqual(done.returncode, 1)
        name = re.search(r"give its include folder with (\w+)=(-D\w+)=DIR", done.stderr)
        done = self.dependencies("no", **here, **{name[1]: f"{name[2]}={self.folder}"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(name[2][2:], (TOOLS / "cmake" / "SculptDependencies.cmake").read_text())

    def test_without_root(self):
        self.program("apt-get", "#!/usr/bin/env bash\n")
        done = self.dependencies("yes", CXX="compiler")
        self.assertEqual(done.returncode, 1)
        self.assertIn("named above by hand and use --no-install", done.stderr)
        self.assertIn("libfmt-dev", done.stdout + done.stderr)  # the packages are named above
        done = self.dependencies("no", CXX="compiler", CPATH=str(self.include))  # by hand
        self.assertEqual(done.returncode, 0, done.stderr)
        self.program("sudo", "#!/usr/bin/env bash\n")
        self.program("apt-cache", "#!/usr/bin/env bash\n")
        self.assertNotIn("root", self.dependencies("yes", CXX="compiler").stderr)


class Builds(unittest.TestCase):
    def test_programs_of_benchmarks(self):
        """The message about a missing program advises a build that is one of the presets."""
        presets = (ROOT / "CMakePresets.json").read_text()
        for tool in ("bench_gpu.py", "bench_pytorch.py"):
            text = (TOOLS / tool).read_text()
            for preset in re.findall(r"cmake --preset (\w+)", text):
                self.assertIn(f'"name": "{preset}"', presets)


if __name__ == "__main__":
    unittest.main()

"""The scripts of tools/ have no syntax errors: Python 3.9 can parse them, and bash -n accepts them."""
import ast
import unittest

from common import ROOT, TOOLS, run


def scripts():
    folders = [TOOLS, TOOLS / "gpu", TOOLS / "slurm", TOOLS / "containers", ROOT / "tests" / "tools",
               ROOT / "tests" / "slurm"]
    for path in sorted([*(file for folder in folders for file in folder.iterdir()), ROOT / ".ci/run"]):
        if path.is_file() and path.name != "CMakeLists.txt" and path.suffix not in (".Dockerfile", ".def"):
            yield path


def language(path):
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    if path.suffix == ".py" or "python" in first:
        return "python"
    return "bash" if path.suffix == ".sh" or "bash" in first else None


class Syntax(unittest.TestCase):
    def test_all_scripts(self):
        seen = set()
        for path in scripts():
            kind = language(path)
            with self.subTest(path.name):
                self.assertIsNotNone(kind, "neither Python nor bash by suffix or first line")
                seen.add(kind)
                if kind == "python":
                    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))
                else:
                    result = run("bash", "-n", path)
                    self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(seen, {"python", "bash"})

    def test_programs_are_executable(self):
        for path in scripts():
            if path.read_text(encoding="utf-8").startswith("#!"):
                with self.subTest(path.name):
                    self.assertTrue(path.stat().st_mode & 0o100, "has #! but is not executable")


if __name__ == "__main__":
    unittest.main()

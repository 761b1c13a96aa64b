"""tools/check_names.py finds types that share a name."""
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run


class CheckNames(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            result = run(TOOLS / "check_names.py", "--root", folder)
        return result.returncode, result.stdout

    def test_a_clash(self):
        group = "namespace sculpt {\nstruct Group {\n  int n;\n};\n}  // namespace sculpt\n"
        status, out = self.check({"engine/a/x.h": group, "apps/b/y.cpp": group.replace("struct", "class")})
        self.assertEqual(status, 1)
        self.assertIn("sculpt::Group is defined in apps/b/y.cpp, engine/a/x.h", out)

    def test_no_clash(self):
        group = "struct Group {\n  int n;\n};\n"
        status, out = self.check({
            "engine/a/x.h": f"namespace sculpt {{\n{group}}}  // namespace sculpt\n",
            "engine/a/y.h": f"namespace sculpt::other {{\n{group}}}  // namespace sculpt::other\n",
            "engine/a/z.h": "namespace sculpt {\nstruct Group;\n}  // namespace sculpt\n",
            "engine/a/z.cpp": "namespace sculpt {\nnamespace {\n\n" + group + "\n}  // namespace\n}  // namespace sculpt\n"})
        self.assertEqual((status, out), (0, ""))

    def test_the_project(self):
        result = run(TOOLS / "check_names.py", "--root", ROOT)
        self.assertEqual((result.returncode, result.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()

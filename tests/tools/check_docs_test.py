"""tools/check_docs.py finds dead links, headings and paths."""
import tempfile
import unittest
from pathlib import Path

from common import TOOLS, run


class CheckDocs(unittest.TestCase):
    def check(self, readme):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "docs").mkdir()
            (root / "engine").mkdir()
            (root / "engine" / "there.h").write_text("")
            (root / "docs" / "page.md").write_text("# A `page`, or two\n")
            (root / "README.md").write_text(readme)
            result = run(TOOLS / "check_docs.py", "--root", folder)
        return result.returncode, result.stdout

    def test_good(self):
        status, out = self.check(
            "# Top\n[a](docs/page.md) [b](docs/page.md#a-page-or-two) [c](#top)\n[d](https://x.y/z)\n"
            "`engine/there.h` `engine/<name>.h` `engine/*.h` `build/cpu`\n"
            "```\n[no link](gone.md) `engine/gone.h`\n```\n")
        self.assertEqual((status, out), (0, "2 documents, 0 problems\n"))

    def test_bad(self):
        status, out = self.check("[a](docs/gone.md)\n[b](docs/page.md#nowhere)\n`engine/gone.h`\n")
        self.assertEqual(status, 1)
        self.assertIn("README.md:1: link to docs/gone.md", out)
        self.assertIn("README.md:2: link to docs/page.md#nowhere", out)
        self.assertIn("README.md:3: `engine/gone.h`", out)


if __name__ == "__main__":
    unittest.main()

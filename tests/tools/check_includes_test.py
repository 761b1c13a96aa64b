"""tools/check_includes.py finds each kind of forbidden include, and passes the allowed ones."""
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run

import check_includes


class Rules(unittest.TestCase):
    def test_table(self):
        cases = [  # (file, included, allowed)
            ("kernels/conv2d.h", "kernels/common/layout.h", True),
            ("kernels/cpu/conv.cpp", "kernels/conv2d.h", True),
            ("kernels/common/check.h", "engine/core/error.h", False),
            ("engine/core/buffer.h", "kernels/common/layout.h", True),
            ("engine/core/buffer.h", "engine/autograd/graph.h", False),
            ("engine/autograd/graph.h", "engine/ops/ops.h", False),
            ("engine/ops/conv2d.cpp", "kernels/cpu/vec.h", False),
            ("engine/ops/conv2d.cpp", "engine/nn/builder.h", False),
            ("engine/nn/builder.cpp", "engine/ops/ops.h", True),
            ("engine/nn/builder.cpp", "engine/optim/sgd.h", False),
            ("engine/sparse/criteria/snip.cpp", "engine/sparse/prune.h", True),
            ("engine/sparse/prune.cpp", "engine/optim/sgd.h", True),
            ("engine/optim/sgd.cpp", "engine/sparse/prune.h", False),
            ("engine/train/trainer.cpp", "data/loader.h", False),
            ("models/resnet.cpp", "engine/nn/builder.h", True),
            ("models/resnet.cpp", "engine/optim/sgd.h", False),
            ("models/resnet.cpp", "data/cifar.h", False),
            ("data/cifar.cpp", "engine/core/error.h", True),
            ("data/cifar.cpp", "engine/nn/network.h", False),
            ("apps/sculpt_run/main.cpp", "engine/train/trainer.h", True),
            ("apps/sculpt_run/main.cpp", "kernels/reference/conv2d.h", False),
            ("apps/sculpt_run/main.cpp", "tests/main.cpp", False),
            ("engine/core/buffer.h", "buffer.h", False),
            ("engine/new/thing.h", "engine/core/buffer.h", False),
        ]
        for file, included, allowed in cases:
            with self.subTest(f"{file} -> {included}"):
                self.assertEqual(check_includes.violation(file, included) is None, allowed)

    def test_table_has_no_cycles(self):
        order = list(check_includes.ALLOWED)
        for layer, targets in check_includes.ALLOWED.items():
            for target in targets:
                known = [row for row in order if check_includes.inside(target, row) or
                         check_includes.inside(row, target)]
                self.assertTrue(known, target)
                for row in known:
                    self.assertLess(order.index(row), order.index(layer), f"{layer} -> {target}")


class Program(unittest.TestCase):
    def make_tree(self, folder, files):
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def test_reports_file_and_line(self):
        with tempfile.TemporaryDirectory() as folder:
            self.make_tree(folder, {
                "kernels/a.h": "#pragma once\n",
                "engine/core/b.h": '#include <vector>\n  # include "engine/ops/c.h"\n',
                "engine/ops/c.h": '#include "kernels/a.h"\n#include "kernels/gone.h"\n'})
            result = run(TOOLS / "check_includes.py", "--root", folder)
        self.assertEqual(result.returncode, 1)
        self.assertIn("engine/core/b.h:2: includes", result.stdout)
        self.assertIn("engine/ops/c.h:2: includes \"kernels/gone.h\": there is no such file",
                      result.stdout)
        self.assertIn("3 includes, 2 violations", result.stdout)

    def test_empty_tree_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(run(TOOLS / "check_includes.py", "--root", folder).returncode, 1)

    def test_this_repository(self):
        result = run(TOOLS / "check_includes.py")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("digraph", run(TOOLS / "check_includes.py", "--graph", "dot").stdout)
        self.assertTrue((ROOT / "kernels").is_dir())


if __name__ == "__main__":
    unittest.main()

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
            ("engine/sparse/prune.cpp", "engine/optim/sgd.h", False),
            ("engine/optim/sgd.cpp", "engine/sparse/prune.h", False),
            ("engine/train/trainer.cpp", "data/loader.h", False),
            ("models/resnet.cpp", "engine/nn/builder.h", True),
            ("models/resnet.cpp", "engine/optim/sgd.h", False),
            ("models/resnet.cpp", "data/sets/cifar.h", False),
            ("data/sets/cifar.cpp", "engine/core/error.h", True),
            ("data/sets/cifar.cpp", "engine/nn/network.h", False),
            ("engine/run/run_store.cpp", "engine/train/trainer.h", False),
            ("engine/train/trainer.cpp", "engine/run/run_store.h", True),
            ("engine/autograd/blocks/schedule.cpp", "engine/autograd/node.h", True),
            ("kernels/device/device.cpp", "kernels/cuda/element.h", False),
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
                self.assertLess(order.index(target), order.index(layer), f"{layer} -> {target}")


class Documents(unittest.TestCase):
    def test_the_architecture_page_shows_the_graph(self):
        graph = run(TOOLS / "check_includes.py", "--graph", "markdown").stdout
        self.assertIn("| folder | includes |\n|---|---|\n" + graph + "\n",
                      (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


class Links(unittest.TestCase):
    """CMake's libraries follow the table."""

    def test_every_folder_of_the_engine_is_a_library(self):
        linked = check_includes.linked(ROOT)
        self.assertEqual({layer for layer in check_includes.ALLOWED
                          if not layer.startswith("kernels") and layer != "apps"},
                         linked.keys() - {"kernels"})

    def test_a_missing_and_an_extra_link_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "engine" / "CMakeLists.txt"
            file.parent.mkdir()
            file.write_text("sculpt_library(sculpt_core FOLDER core LINK sculpt_kernels)\n"
                            "sculpt_library(sculpt_config FOLDER config LINK)\n"
                            "sculpt_library(sculpt_formats FOLDER formats\n"
                            "  LINK sculpt_core sculpt_config fmt::fmt)\n")
            problems = check_includes.link_problems(Path(folder))
        self.assertEqual(len(problems), 2, problems)
        self.assertIn("sculpt_config", problems[0])
        self.assertIn("sculpt_formats (CMake) links engine/config, engine/core", problems[1])


class Unused(unittest.TestCase):
    def test_an_entry_that_no_file_needs_is_reported(self):
        needed = {(layer, target) for layer, targets in check_includes.ALLOWED.items()
                  for target in targets}
        self.assertEqual(check_includes.unused_rules(needed), [])
        found = check_includes.unused_rules(needed - {("models", "engine/nn")})
        self.assertEqual(len(found), 1)
        self.assertIn("no file of models includes engine/nn", found[0])


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

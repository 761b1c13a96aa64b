"""The container recipes of tools/containers agree with each other and with the repository. They are not run."""
import re
import unittest

from common import ROOT, TOOLS, run

FOLDER = TOOLS / "containers"
INSTRUCTIONS = {"ARG", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "WORKDIR"}
SECTIONS = {"%environment", "%files", "%post", "%runscript"}
SCRIPT = "tools/containers/build_inside.sh"
PREFIX = "/opt/sculpt"


def code_of(name):
    return [line for line in (FOLDER / name).read_text().splitlines() if line and not line.lstrip().startswith("#")]


def calls(lines):
    """Returns (path of the script, arguments) of every call of build_inside.sh."""
    return [(match.group(1), match.group(2).split()) for line in lines
            for match in [re.search(r"(\S*)/build_inside\.sh (.*)", line)] if match]


class Containers(unittest.TestCase):
    def check_calls(self, lines, preset):
        (building, build), (running, runtime) = calls(lines)
        self.assertEqual(build, ["build", preset, PREFIX])
        self.assertEqual(runtime, ["runtime"])
        # The script lies in the copied sources, and in what the first stage installs.
        self.assertEqual(building, "/src/tools/containers")
        self.assertEqual(running, f"{PREFIX}/share/sculpt/tools/containers")

    def test_docker(self):
        for preset in ("cpu", "cuda"):
            with self.subTest(preset):
                lines = code_of(f"{preset}.Dockerfile")
                self.assertLessEqual({line.split()[0] for line in lines}, INSTRUCTIONS)
                stages = [line for line in lines if line.startswith("FROM")]
                self.assertRegex(stages[0], r"^FROM \S+:\S+ AS build$")
                self.assertRegex(stages[1], r"^FROM \S+:\S+$")
                self.assertIn(f"COPY --from=build {PREFIX} {PREFIX}", lines)
                self.check_calls(lines, preset)

    def test_apptainer(self):
        for preset in ("cpu", "cuda"):
            with self.subTest(preset):
                lines = code_of(f"{preset}.def")
                self.assertLessEqual({line.split()[0] for line in lines if line.startswith("%")}, SECTIONS)
                self.assertEqual([line for line in lines if line.startswith("Stage:")], ["Stage: build", "Stage: final"])
                self.assertIn("%files from build", lines)
                self.check_calls(lines, preset)

    def test_both_start_from_the_same_images(self):
        for preset in ("cpu", "cuda"):
            docker = re.findall(r"^FROM (\S+)", "\n".join(code_of(f"{preset}.Dockerfile")), re.MULTILINE)
            apptainer = re.findall(r"^From: (\S+)", "\n".join(code_of(f"{preset}.def")), re.MULTILINE)
            self.assertEqual(docker, apptainer)

    def test_the_script(self):
        done = run("bash", ROOT / SCRIPT)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: build_inside.sh build PRESET PREFIX", done.stderr)

    def test_packages_are_those_of_the_setup(self):
        """The packages of a build are those that tools/setup_common.sh installs, and MPI."""
        setup = (TOOLS / "setup_common.sh").read_text()
        wanted = {name for group in re.findall(r"_PACKAGES=\(([^)]*)\)", setup) for name in group.split()}
        words = set((ROOT / SCRIPT).read_text().split())
        self.assertLessEqual(wanted | {"openmpi-bin", "libopenmpi-dev"}, words)
        self.assertGreater(len(wanted), 8)


if __name__ == "__main__":
    unittest.main()

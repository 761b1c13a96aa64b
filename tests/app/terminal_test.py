"""The output on a terminal: widths, colours, messages about arguments, paths and processors."""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

from common import PROGRAM, TIMEOUT, ProgramTest, main, sculpt_run

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
SMALL = ["--set", "train.epochs=1"]


def on_a_terminal(words, columns, **environment):
    """Runs the program on a terminal of that width. Returns (exit code, everything that was written)."""
    variables = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    variables.update({"TERM": "xterm", **environment})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([PROGRAM, *map(str, words)], stdin=theirs, stdout=theirs,
                               stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side was closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(timeout=TIMEOUT), shown.decode()


def columns_of(shown):
    """Returns the width of the widest line, without codes and without lines that were drawn over."""
    lines = ESCAPE.sub("", shown).replace("\r\n", "\n")
    return max((len(part), part) for line in lines.split("\n") for part in line.split("\r"))


class Width(ProgramTest):
    def commands(self):
        config = [self.config, *SMALL]
        wide = [*config, "--set", "model.name=mobilenet_v1"]
        return {"run": [*config, "--out", self.folder / "run"],
                "validation": [*config, "--set", "data.val_split=0.25", "--out",
                               self.folder / "val"],
                "plan": [*config, "--plan"], "describe": [*wide, "--describe"], "help": ["--help"],
                "help-config": ["--help-config"]}

    def test_no_line_is_wider_than_the_terminal(self):
        for columns in (80, 60):
            for name, words in self.commands().items():
                with self.subTest(name, columns=columns):
                    if "--out" in words:
                        words[-1] = words[-1].with_name(f"{name}-{columns}")
                    code, shown = on_a_terminal(words, columns)
                    self.assertEqual(code, 0, shown)
                    width, line = columns_of(shown)
                    # The names of a folder and of a page are not cut, so that they can be copied.
                    if not line.startswith(("run folder ", "report ")):
                        self.assertLessEqual(width, columns, line)

    def test_the_width_of_a_pipe(self):
        for words in (["--help"], [self.config, "--plan"], [self.config, "--describe"]):
            environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
            for columns in (80, 60):
                if columns != 80:
                    environment["COLUMNS"] = str(columns)
                done = sculpt_run(*words, env=environment)
                self.assertEqual(done.returncode, 0, done.stderr)
                width, line = columns_of(done.stdout)
                if columns == 80 or words[-1] == "--help":
                    self.assertLessEqual(width, columns, line)

    def test_colours_only_where_they_are_wanted(self):
        words = [self.config, "--plan"]
        self.assertIn("\x1b[1m", on_a_terminal(words, 80)[1])
        for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\x1b", on_a_terminal(words, 80, **variables)[1])
        run = [self.config, *SMALL, "--threads", len(os.sched_getaffinity(0)) + 1,
               "--out"]
        for name, variables in (("a", {}), ("b", {"NO_COLOR": "1"})):
            shown = on_a_terminal([*run, self.folder / name], 80, **variables)[1]
            self.assertEqual("\x1b[32mtest accuracy" in shown, not variables)
            self.assertEqual("\x1b[33mwarning:" in shown, not variables)
            self.assertIn("\r[", shown)  # the bar is drawn over, in colour or not
        shown = on_a_terminal([*run, self.folder / "c"], 80, TERM="dumb")[1]
        self.assertNotIn("\r[", shown)
        self.assertNotIn("\x1b", shown)
        done = sculpt_run(self.config, *SMALL, "--out", self.folder / "d")
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        self.assertNotIn("\r", done.stdout + done.stderr)

    def test_the_line_of_a_signal_replaces_the_bar(self):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([PROGRAM, str(self.config), "--set", "train.epochs=2000", "--out",
                                    str(self.folder / "run")], stdin=theirs, stdout=theirs,
                                   stderr=theirs, env={**os.environ, "TERM": "xterm"})
        os.close(theirs)
        shown = b""
        while b"\r[" not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
        os.close(ours)
        self.assertEqual(process.wait(timeout=TIMEOUT), 75)
        self.assertIn("\r\x1b[Kstopping after this step", shown.decode())


class Messages(ProgramTest):
    def test_the_option_parser_speaks_as_we_do(self):
        cases = [
            (["--sets", "a=1"], "there is no option --sets; did you mean --set?"),
            ([self.config, "--resum"], "there is no option --resum; did you mean --resume?"),
            ([self.config, "--device=cpu", "--thread=3"],
             "there is no option --thread; did you mean --threads?"),
            ([self.config, "--qqqqqqqq"], "there is no option --qqqqqqqq; run"),
            ([self.config, "more"], "'more' is one argument too many"),
            ([self.config, "--out"], "--out needs a value (DIR)"),
            ([self.config, "--threads"], "--threads needs a value (N)"),
            (["--help-config", "html"], "--help-config: html is not in {text,markdown}"),
            ([], "the config is missing; write sculpt_run CONFIG.toml"),
        ]
        for words, text in cases:
            with self.subTest(words):
                done = self.assert_fails(2, [text, "un sculpt_run --help"], *words)
                self.assertEqual(done.stdout, "")
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_version(self):
        text = self.finish("--version")
        for pattern in (r"^sculpt_run \d+\.\d+\.\d+$", r"^commit +\S+$", r"^compiler +\S+ \d+",
                        r"^CPU +.*cpu-portable", r"^GPU +\S"):
            self.assertRegex(text, re.compile(pattern, re.MULTILINE))

    def test_home_folders(self):
        home = self.folder / "home"
        home.mkdir()
        (home / "tiny.toml").write_text(self.config.read_text())
        environment = {**os.environ, "HOME": str(home)}
        done = sculpt_run("~/tiny.toml", "--out", "~/runs/a", "--set", "data.root=~/data", *SMALL,
                          env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f'root = "{home}/data"', (home / "runs" / "a" / "config.toml").read_text())
        # A "~" in the middle of a path, or with a user who does not exist, is not replaced.
        done = sculpt_run("~nobody-of-that-name/tiny.toml", env=environment)
        self.assertEqual(done.returncode, 2)
        self.assertIn("~nobody-of-that-name", done.stderr)
        config = self.write("missing.toml", '[data]\nname = "cifar10"\nroot = "~/nothing"\n')
        self.assert_fails(2, [f"{home}/nothing"], config, env=environment, cwd=self.folder)

    def test_too_many_threads(self):
        available = len(os.sched_getaffinity(0))
        words = [self.config, "--describe", "--threads"]
        done = sculpt_run(*words, available + 1)
        self.assertEqual(done.returncode, 0)
        self.assertIn(f"warning: {available + 1} threads share ", done.stderr)
        self.assertNotIn("warning", done.stdout)
        one = min(os.sched_getaffinity(0))
        done = sculpt_run(*words, 2, preexec_fn=lambda: os.sched_setaffinity(0, {one}))
        self.assertIn("warning: 2 threads share 1 processor,", done.stderr)
        done = sculpt_run(*words, 1, preexec_fn=lambda: os.sched_setaffinity(0, {one}))
        self.assertEqual(done.stderr, "")

    def test_validation_is_called_validation(self):
        out = self.folder / "run"
        text = self.finish(self.config, *SMALL, "--set", "data.val_split=0.25", "--out", out)
        self.assertRegex(text, r"epoch 1/1 .* validation \d")
        self.assertIn("validation accuracy", text)
        self.assertNotIn("test", text)
        self.assertIn('"evaluated_on": "validation"', (out / "summary.json").read_text())
        text = self.finish(self.config, *SMALL, "--out", self.folder / "other")
        self.assertIn("test accuracy", text)
        self.assertNotIn("validation", text)
        self.assertIn('"evaluated_on": "test"',
                      (self.folder / "other" / "summary.json").read_text())


if __name__ == "__main__":
    main()

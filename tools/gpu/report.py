"""Writes report.md, which is on the disk after each line, and logs.tgz, which holds every log."""
import io
import os
import sys
import tarfile
import time
from pathlib import Path

MAX_LOG_BYTES = 512 << 10  # bytes of the beginning and of the end of a log in the archive
MAX_ARCHIVE_INPUT_BYTES = 48 << 20


def one_line(text, width=300):
    """Returns the text as one line for a list or a table, without characters that Markdown interprets."""
    text = " ".join(str(text).split()).replace("|", "/").replace("`", "'")
    return text if len(text) <= width else text[:width - 3] + "..."


class Report:
    def __init__(self, out):
        self.out, self.problem = Path(out), ""
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = (self.out / "report.md").open("w", encoding="utf-8")

    def line(self, text=""):
        """Appends a line and waits until it is on the disk. Remembers a full disk and raises no error."""
        try:
            self.file.write(text + "\n")
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as problem:
            self.problem = f"report.md cannot be written: {problem}"
        say(text)

    def row(self, *cells):
        self.line("| " + " | ".join(one_line(cell, 240) for cell in cells) + " |")

    def table(self, *heads):
        self.line()
        self.row(*heads)
        self.line("|" + "---|" * len(heads))

    def item(self, text):
        self.line(f"- {one_line(text)}")

    def block(self, text, lines=40):
        """Quotes the last lines of a program's output, each cut to a limit."""
        kept = [_quoted(line) for line in text.rstrip().split("\n")][-lines:]
        self.line("\n".join(["", "```", *kept, "```", ""]))

    def save_logs(self, folder):
        """Writes logs.tgz again. Very long logs lose their middle."""
        target, partial = self.out / "logs.tgz", self.out / ".logs.tgz.partial"
        try:
            left = MAX_ARCHIVE_INPUT_BYTES
            with tarfile.open(partial, "w:gz", compresslevel=5) as archive:
                for path in sorted(Path(folder).rglob("*")):
                    if path.name.startswith(".") or not path.is_file() or path.is_symlink():
                        continue
                    content = _shortened(path)
                    if len(content) > left:
                        continue
                    left -= len(content)
                    entry = tarfile.TarInfo("logs/" + str(path.relative_to(folder)))
                    entry.size, entry.mtime = len(content), int(time.time())
                    archive.addfile(entry, io.BytesIO(content))
            os.replace(partial, target)
        except OSError as problem:
            self.problem = f"logs.tgz cannot be written: {problem}"
            try:
                partial.unlink()
            except OSError:
                pass

    def close(self):
        try:
            self.file.close()
        except OSError as problem:  # what a full disk did not take
            self.problem = f"report.md cannot be written: {problem}"


def _quoted(line):
    if line.count("\ufffd") > 3:
        return f"(a line of {len(line)} characters, most of which are not text)"
    return line[:200].replace("```", "'''")


def _shortened(path):
    with path.open("rb") as file:
        head = file.read(MAX_LOG_BYTES)
        size = os.fstat(file.fileno()).st_size
        if size <= 2 * MAX_LOG_BYTES:
            return head + file.read()
        file.seek(size - MAX_LOG_BYTES)
        return head + f"\n... {size - 2 * MAX_LOG_BYTES} bytes left out ...\n".encode() + file.read()


def say(text):
    """Prints a text. A standard output that is closed or full does not stop the check."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

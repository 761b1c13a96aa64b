"""report.md, which grows line by line and is on the disk after each; logs.tgz, with every log."""
import io
import os
import sys
import tarfile
import time
from pathlib import Path

MAX_LOG_BYTES = 512 << 10  # of the beginning and of the end of a log in the archive
MAX_ARCHIVE_INPUT_BYTES = 48 << 20


def one_line(text, width=300):
    """Text for a list or a table: one line, without what Markdown or a table would take as its own."""
    text = " ".join(str(text).split()).replace("|", "/").replace("`", "'")
    return text if len(text) <= width else text[:width - 3] + "..."


class Report:
    def __init__(self, out):
        self.out, self.problem = Path(out), ""
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = (self.out / "report.md").open("w", encoding="utf-8")

    def line(self, text=""):
        """Appends a line and waits until the disk has it. A full disk is remembered, not raised."""
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
        """Output of a program, quoted: the last lines, each cut."""
        kept = [_quoted(line) for line in text.rstrip().split("\n")][-lines:]
        self.line("\n".join(["", "```", *kept, "```", ""]))

    def save_logs(self, folder):
        """Writes logs.tgz anew. Very long logs lose their middle."""
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
    """Prints; a closed or full standard output is no reason to stop."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

"""Paths and helpers for the tests of tools/."""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
sys.path.insert(0, str(TOOLS))


def run(*words, **options):
    """Runs a program from the repository root. Returns the finished process with its text."""
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=ROOT,
                          timeout=120, check=False, stdin=subprocess.DEVNULL, **options)

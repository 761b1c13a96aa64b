"""Reads the table of measured kernels in a report of tools/gpu_check, or in what `sculpt_bench kernels` prints."""
import re

HEADING = re.compile(r"^\|\s*kernel\s*\|\s*shape\s*\|\s*calls per step\s*\|\s*us per call\s*\|")


def read_times(text):
    """Returns {(kernel, shape): seconds of a call} of all tables in a text. Damaged rows are left out."""
    found, inside = {}, False
    for line in text.splitlines():
        if HEADING.match(line):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            try:
                found[cells[0], cells[1]] = float(cells[3]) * 1e-6
            except (IndexError, ValueError):
                continue
    return found

"""Says which Python packages a tool lacks, before it imports them."""
import importlib.util
import sys


def require(usage, *names):
    """Ends the program if a package is missing. `--help` prints the usage without them."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if not missing:
        return
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage.strip())
        sys.exit(0)
    tool = sys.argv[0]
    sys.exit(f"error: {tool} needs the Python package{'s' if len(missing) > 1 else ''} {' and '.join(missing)}; install "
             f"them with: python3 -m pip install {' '.join(missing)}")

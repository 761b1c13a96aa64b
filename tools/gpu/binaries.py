"""Provides the programs: from a folder that `gpu_check pack` made, or built here from source."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .check import ROOT, Skipped

PROGRAMS = ("sculpt_run", "sculpt_bench", "test_fragments", "test_kernels", "test_ops", "test_cuda",
            "test_nn", "test_run", "test_sparse", "test_train")
LIBRARY = "libsculpt_cuda.so"
CUDNN_LIBRARY = "libsculpt_cudnn.so"  # exists only if CMake found cuDNN
NCCL_LIBRARY = "libsculpt_nccl.so"  # exists only if CMake found NCCL
TARGETS = ("sculpt_cuda", *PROGRAMS)
MAX_PACK_BYTES = 64 << 20
# These libraries are part of every Linux system that has a compiler's runtime, or they are NVIDIA's and far
# too large to pack. All other libraries are packed.
SYSTEM_LIBRARIES = re.compile(r"(linux-vdso|ld-linux|libc|libm|libdl|librt|libpthread|libgcc_s|"
                              r"libstdc\+\+|libcuda|lib(cudart|cudnn|cublas|nccl|nv)\w*)(?=[.-])")
BUILD_FOLDER = ROOT / "build" / "cuda"


class PackError(Exception):
    """A pack cannot be made; the text says why."""


# --- on the machine with the GPU -------------------------------------------------------------------

def step(check):
    """Uses the packed programs, or those of an existing build, or builds them; then starts each one."""
    options = check.options
    if options.binaries is not None and use_folder(check, options.binaries):
        return
    if options.binaries is None and not options.build:
        for folder in (ROOT / "build" / "gpu_pack", BUILD_FOLDER / "bin"):
            if (folder / LIBRARY).exists() and use_folder(check, folder):
                return
    build(check)
    if not use_folder(check, BUILD_FOLDER / "bin"):
        check.problem("no program can be started here, so that most steps will be skipped")


def use_folder(check, folder):
    """Makes `folder` the folder of the programs. Returns True if enough of them start here."""
    folder = Path(folder).resolve()
    manifest = read_manifest(folder)
    if manifest:
        check.report.item(f"carried programs in {folder}: commit {manifest.get('commit')}, "
                          f"architectures {manifest.get('archs')}, {manifest.get('nvcc')}")
        damaged = [name for name, digest in manifest.get("sha256", {}).items()
                   if file_digest(folder / name) != digest]
        if damaged:
            check.problem(f"damaged or missing since they were packed: {', '.join(damaged)}")
    else:
        check.report.item(f"programs in {folder}")
    check.binaries = folder
    folders = [folder / "lib"] if (folder / "lib").is_dir() else []
    if any((folder / name).exists() for name in (CUDNN_LIBRARY, NCCL_LIBRARY)):
        folders += nvidia_folders(check)
    check.environment = {}
    if folders:
        check.environment["LD_LIBRARY_PATH"] = os.pathsep.join(
            [*map(str, folders), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    bad = []
    commands = [check.command(f"start {name}", [folder / name, "--help"], 20)
                for name in PROGRAMS if (folder / name).exists()]
    for result in check.runner.run_all(commands, 4):
        if not result.ok:
            check.outcome(result)
            bad.append(result.command.name)
    missing = [name for name in (*PROGRAMS, LIBRARY) if not (folder / name).exists()]
    if missing:
        check.report.item(f"not there: {', '.join(missing)}")
    started = len(commands) - len(bad)
    check.report.item(f"{started} of {len(PROGRAMS)} programs start here"
                      + (", with cuDNN's convolutions" if (folder / CUDNN_LIBRARY).exists() else ""))
    # A folder from which only half of the programs start is better than a build that may fail.
    return started > len(PROGRAMS) // 2 and (folder / LIBRARY).exists()


def nvidia_folders(check):
    """Returns the folders of cuDNN, cuBLAS and NCCL in the Python that may have torch. The programs load these
    libraries by name."""
    found = check.runner.run(check.command("folders of Python's packages", [
        check.options.python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], 20,
        ours=False))
    place = Path((found.text.strip().splitlines() or [""])[-1])
    if not found.ok or not place.is_absolute():
        return []
    return [path for path in sorted((place / "nvidia").glob("*/lib"))
            if any(list(path.glob(f"lib{name}*")) for name in ("cudnn", "cublas", "nccl"))]


def build(check):
    """Configures and builds the targets that the check runs. If cuDNN is the problem, builds without it."""
    if shutil.which("cmake") is None:
        raise Skipped("there are no carried programs that start here, and no CMake to build with")
    configure = ["cmake", "--preset", "cuda", f"-DSCULPT_CUDA_ARCHS={check.architecture}"]
    if check.options.headers:
        configure.append(f"-DSCULPT_HEADERS={Path(check.options.headers).resolve()}")
    result = check.run("configure", configure, 60, ours=False)
    if not result.ok:
        result = check.run("configure without cuDNN",
                           [*configure, "-DCMAKE_DISABLE_FIND_PACKAGE_CUDNN=ON"], 60,
                           ours=False)
    if not result.ok:
        return
    # With -k 0, a target that does not compile does not keep the others from being built.
    words = ["cmake", "--build", "--preset", "cuda", "--parallel", str(os.cpu_count()), "--target",
             *TARGETS]
    check.run("build", [*words, "--", "-k", "0"], 300, ours=False, share=0.75)
    targets = check.runner.run(check.command(
        "targets", ["cmake", "--build", "--preset", "cuda", "--target", "help"], 20, ours=False))
    if "sculpt_cudnn:" in targets.text:
        check.run("build of the cuDNN library",
                  ["cmake", "--build", "--preset", "cuda", "--target", "sculpt_cudnn"], 120,
                  ours=False)


def read_manifest(folder):
    try:
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def file_digest(path):
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


# --- on the machine that packs ---------------------------------------------------------------------

def pack(options):
    """Builds for `options.archs` and fills `options.out`. Returns a line that describes the pack."""
    commit = commit_of_tree()
    _call(["cmake", "--preset", "cuda", f"-DSCULPT_CUDA_ARCHS={options.archs}", *options.cmake])
    parallel = ["--parallel", str(options.jobs)] if options.jobs else []
    _call(["cmake", "--build", "--preset", "cuda", *parallel, "--target", *TARGETS])
    listed = _output(["cmake", "--build", "--preset", "cuda", "--target", "help"])
    if "sculpt_cudnn:" in listed:
        _call(["cmake", "--build", "--preset", "cuda", *parallel, "--target", "sculpt_cudnn"])
    if commit_of_tree() != commit:
        raise PackError("the tree was changed while it was built, so that nobody could say of which "
                        "commit the programs are; run it again")
    return collect(BUILD_FOLDER / "bin", options.out, options.archs)


def commit_of_tree():
    """Returns the commit that is checked out, and says whether files differ from it."""
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"])
    return (_output(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]).strip()
            + (" with local changes" if changed.strip() else ""))


def collect(source, out, archs):
    """Strips the programs of `source` into `out`, with the shared libraries they need."""
    source, out = Path(source), Path(out)
    names = [name for name in (*PROGRAMS, LIBRARY, CUDNN_LIBRARY, NCCL_LIBRARY) if (source / name).exists()]
    missing = [name for name in (*PROGRAMS, LIBRARY) if name not in names]
    if missing:
        raise PackError(f"{source} lacks {', '.join(missing)}")
    if out.exists() and read_manifest(out) is None and any(out.iterdir()):
        raise PackError(f"{out} holds something that is not a pack; name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    (out / "lib").mkdir(parents=True)
    for name in names:
        _call(["strip", "--strip-unneeded", "-o", str(out / name), str(source / name)])
        (out / name).chmod(0o755)
        for library in needed_libraries(source / name):
            shutil.copyfile(library, out / "lib" / Path(library).name)
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > MAX_PACK_BYTES:
        raise PackError(f"the pack has {size >> 20} MiB, more than the {MAX_PACK_BYTES >> 20} that "
                        "may be carried; name fewer architectures with --archs")
    manifest = {
        "commit": commit_of_tree(), "archs": archs, "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "nvcc": (_output(["nvcc", "--version"]).strip().splitlines() or ["nvcc unknown"])[-1],
        "glibc_needed": needed_glibc([out / name for name in names]),
        "sha256": {str(path.relative_to(out)): file_digest(path) for path in files},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return (f"{out}: {len(files)} files, {size / 2**20:.1f} MiB, for sm {archs}, needs glibc "
            f"{manifest['glibc_needed']} or newer")


def needed_libraries(program):
    """Returns the paths of a program's shared libraries that a minimal system may lack."""
    found = []
    for line in _output(["ldd", str(program)]).splitlines():
        name, arrow, path = (part.strip() for part in line.partition("=>"))
        if arrow and path.startswith("/") and not SYSTEM_LIBRARIES.match(name):
            found.append(path.split(" (")[0])
    return found


def needed_glibc(programs):
    """Returns the newest version of the C library that the programs need."""
    versions = set()
    for program in programs:
        versions.update(re.findall(r"GLIBC_([0-9.]+)", _output(["objdump", "-T", str(program)])))
    return max(versions, key=lambda v: [int(n) for n in v.split(".")], default="unknown")


def _call(words):
    print("$ " + " ".join(words), flush=True)
    try:
        status = subprocess.call(words, cwd=ROOT)
    except OSError as problem:
        raise PackError(f"{words[0]} cannot be started: {problem.strerror}") from None
    if status != 0:
        raise PackError(f"{words[0]} ended with {status}")


def _output(words):
    try:
        return subprocess.run(words, cwd=ROOT, capture_output=True, check=False,
                              timeout=60).stdout.decode("utf-8", errors="replace")
    except (OSError, subprocess.TimeoutExpired) as problem:
        print(f"warning: {words[0]}: {problem}", file=sys.stderr)
        return ""

"""Compiles kernels/cuda/**/*.cu and reads what the compiler made of each kernel.

ptxas reports registers, shared memory and spills. nvdisasm lists the instructions, in which the loops are
found: a branch back to an earlier instruction closes one.
"""
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels" / "cuda"

ENTRY = re.compile(r"Compiling entry function '(\w+)' for")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(.*)")
SHARED = re.compile(r"(\d+) bytes smem")

FUNCTION = re.compile(r"^\.text\.(\S+):")
LABEL = re.compile(r"^\s*(\.L_x_\d+|\$?\S+):\s*$")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*);")
TARGET = re.compile(r"`\((\.L_x_\d+)\)")
# The order matters: ".128" is not ".U8", and a 4-byte access has no suffix.
WIDTHS = ((".128", 16), (".64", 8), (".U16", 2), (".S16", 2), (".U8", 1), (".S8", 1))


@dataclass
class Part:
    """Instructions of a part of a kernel. Bytes are those that one thread moves to or from global memory."""
    instructions: int = 0
    matrix_products: int = 0
    moved_bytes: int = 0

    def add(self, opcode):
        self.instructions += 1
        self.matrix_products += opcode.startswith(("HMMA", "HGMMA"))
        if opcode.startswith(("LDG", "STG")):  # LDGSTS included
            self.moved_bytes += next((width for text, width in WIDTHS if text in opcode), 4)


@dataclass
class Kernel:
    """A kernel as compiled. `hot` is the loop that does most of its work, `once` what lies outside of it.
    `overlaps` says whether its blocks may start before the kernel before it has ended."""
    file: str
    name: str  # as short_name() writes it
    registers: int = 0
    shared_bytes: int = 0  # static shared memory
    spilled_bytes: int = 0
    once: Part = field(default_factory=Part)
    hot: Part = field(default_factory=Part)
    overlaps: bool = False
    loading: Part = field(default_factory=Part)  # see divide()


def tool(name, package):
    """Returns the path of a program of the CUDA toolkit, which may come from NVIDIA's Python packages."""
    places = [Path("/usr/local/cuda/bin"), *(Path(place) / "nvidia" / "cu13" / "bin" for place in sys.path)]
    found = shutil.which(name) or next((str(place / name) for place in places if (place / name).exists()), None)
    if found is None:
        sys.exit(f"error: {name} is not installed (looked in PATH, in /usr/local/cuda/bin and in python3's packages): "
                 f"install the whole CUDA toolkit or the Python package {package}")
    return found


@functools.cache
def nvcc():
    return tool("nvcc", "nvidia-cuda-nvcc")


@functools.cache
def nvdisasm():
    return tool("nvdisasm", "nvidia-cuda-nvdisasm")


def demangled(symbols):
    """Returns the names of mangled symbols, in order."""
    if not symbols:
        return []
    return subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True,
                          check=True).stdout.splitlines()


def short_name(name):
    """Removes namespaces and arguments: implicit_gemm<TensorCores<bf16>, GemmTile<128, 64, 64, 32, 3>, ...>."""
    name = re.sub(r"\(anonymous namespace\)::|sculpt::kernels::(cuda::)?", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for i, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            name = name[:i]
            break
    return re.sub(r"\((int|bool|unsigned int)\)", "", name).replace("> >", ">>")


def short_names(symbols):
    return [short_name(name) for name in demangled(symbols)]


def read_resources(text):
    """Returns {symbol: (registers, static shared bytes, spilled bytes)} of what ptxas reports."""
    found, symbol, spilled = {}, None, 0
    for line in text.splitlines():
        if match := ENTRY.search(line):
            symbol = match[1]
        elif match := STACK.search(line):
            spilled = int(match[2]) + int(match[3])
        elif symbol and (match := USED.search(line)):
            shared = SHARED.search(match[2])
            found[symbol] = (int(match[1]), int(shared[1]) if shared else 0, spilled)
            symbol = None
    return found


def read_functions(text):
    """Returns {symbol: [(opcode, labels before it, label that it branches to)]} of a disassembly."""
    functions, code, labels = {}, None, []
    for line in text.splitlines():
        if match := FUNCTION.match(line):
            code, labels = functions.setdefault(match[1], []), []
        elif code is None:
            continue
        elif match := INSTRUCTION.match(line):
            target = TARGET.search(match[2]) if match[1].startswith("BRA") else None
            code.append((match[1], labels, target[1] if target else None))
            labels = []
        elif match := LABEL.match(line):
            # Behind the kernel lie slow paths of divisions and roots, which ordinary numbers do not take.
            if match[1].startswith("$"):
                code = None
            else:
                labels.append(match[1])
    return functions


def loops_of(code):
    """Returns [(first, last)] of the loops, as places in the code."""
    place = {label: i for i, (_, labels, _) in enumerate(code) for label in labels}
    found = {}
    for i, (_, _, target) in enumerate(code):
        first = place.get(target)
        # A branch to itself pads the end of the code.
        if first is not None and first < i:
            found[first] = i  # several branches to one place close the same loop
    return sorted(found.items())


def part_of(code):
    part = Part()
    for opcode, _, _ in code:
        if opcode != "NOP":  # NOPs pad the end of the code
            part.add(opcode)
    return part


def innermost(loops):
    return [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]


def joined(parts):
    """Returns one loop in the place of several, each of which computes as many of a kernel's matrix products."""
    products = max(part.matrix_products for part in parts)
    turns = [products / part.matrix_products for part in parts]
    return Part(round(sum(n * part.instructions for n, part in zip(turns, parts))), products * len(parts),
                round(sum(n * part.moved_bytes for n, part in zip(turns, parts))))


def divide(code):
    """Returns (what lies outside of the hot loops, the hot loop, the loop that loads for it).

    The last part is empty, except for kernels with several loops of matrix products, such as the two gradients of a
    convolution: these loops are joined to one, and another loop loads their operands. Loops with equally many
    products are copies of one loop, which the compiler has made."""
    loops = loops_of(code)
    parts = {loop: part_of(code[loop[0]:loop[1] + 1]) for loop in loops}
    inner = innermost(loops)
    most = max((part.matrix_products for part in parts.values()), default=0)
    moving = max(inner, key=lambda loop: parts[loop].moved_bytes * (parts[loop].matrix_products == 0), default=None)
    if moving and not parts[moving].moved_bytes:
        moving = None
    multiplying = [loop for loop in inner if parts[loop].matrix_products]
    if len({parts[loop].matrix_products for loop in multiplying}) > 1 and moving:
        outside = [one for i, one in enumerate(code)
                   if not any(first <= i <= last for first, last in [*multiplying, moving])]
        return part_of(outside), joined([parts[loop] for loop in multiplying]), parts[moving]
    if most:  # the smallest loop with all matrix products
        hot = min((loop for loop in loops if parts[loop].matrix_products == most),
                  key=lambda loop: parts[loop].instructions)
    else:  # the innermost loop that moves most
        hot = moving
    if hot is None:
        return part_of(code), Part(), Part()
    return part_of(code[:hot[0]] + code[hot[1] + 1:]), parts[hot], Part()


def kernels_of(source, arch):
    """Compiles a file and returns its kernels."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernels.cubin"
        compiled = subprocess.run([nvcc(), "-std=c++20", "-O3", f"-arch=sm_{arch}", f"-I{ROOT}", "-Xptxas",
                                   "-v", "-cubin", str(source), "-o", str(binary)], capture_output=True,
                                  text=True)
        if compiled.returncode != 0:
            sys.exit(f"error: {source.name} does not compile:\n{compiled.stderr}")
        listed = subprocess.run([nvdisasm(), "-c", str(binary)], capture_output=True, text=True)
        if listed.returncode != 0:
            sys.exit(f"error: nvdisasm cannot read {source.name}:\n{listed.stderr}")
    resources, functions = read_resources(compiled.stderr), read_functions(listed.stdout)
    kernels = []
    for name, symbol in zip(short_names(list(resources)), resources):
        code = functions[symbol]
        once, hot, loading = divide(code)
        overlaps = any(opcode.startswith("ACQBULK") for opcode, _, _ in code)  # griddepcontrol.wait
        kernels.append(Kernel(str(source.relative_to(KERNELS)), name, *resources[symbol], once, hot, overlaps,
                              loading))
    return kernels


def compile_all(arch, jobs):
    """Returns the kernels of all files."""
    with ThreadPoolExecutor(jobs) as pool:
        per_file = pool.map(lambda source: kernels_of(source, arch), sorted(KERNELS.rglob("*.cu")))
    return [kernel for kernels in per_file for kernel in kernels]

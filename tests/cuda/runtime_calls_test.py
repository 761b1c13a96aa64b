#!/usr/bin/env python3
"""Calls of the CUDA runtime stand in few files, where each is within a DeviceGuard; copies between
host and device in one. Every kernel waits for the kernels before it.

usage: runtime_calls_test.py
"""
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "kernels" / "cuda"
CALL = re.compile(r"\b(cuda[A-Z]\w*)\s*\(")
MAY_CALL = {"device/launch.h", *(f"device/{name}.cpp" for name in (
    "backend", "device_guard", "device_memory", "recording", "side_stream", "timing", "tracing", "wait"))}
# Waits must end if another rank is lost.
WAITS = {"cudaStreamSynchronize": {"device/wait.cpp", "device/backend.cpp"},
         "cudaEventSynchronize": {"device/wait.cpp"}, "cudaDeviceSynchronize": set()}
# A device may read pageable memory after the call of an asynchronous copy. Only copy_in() and
# copy_out() handle this.
COPIES = {"device/device_memory.cpp"}


# The name of a kernel, its parameters, and the first statement of its body.
KERNEL = re.compile(r"__global__\s+void(?:\s+__launch_bounds__\([^()]*(?:\([^()]*\)[^()]*)*\))?\s+(\w+)\s*"
                    r"\([^{};]*\)\s*\{\s*([^;]*;)")


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def problems(name, text):
    text = without_comments(text)
    for kernel, first in KERNEL.findall(text):
        if first != "follow_previous_kernels();":
            yield f"{name}: the kernel {kernel}() must begin with follow_previous_kernels(), see device/follow.h"
    if len(KERNEL.findall(text)) != text.count("__global__"):
        yield f"{name}: {text.count('__global__')} kernels, of which this test can read {len(KERNEL.findall(text))}"
    for call in sorted(set(CALL.findall(text))):
        if name not in MAY_CALL or (name == "device/launch.h" and call != "cudaLaunchKernelEx"):
            yield f"{name} calls {call}(): use kernels/cuda/device/device_memory.h or launch.h"
        elif call.startswith("cudaMemcpy") and name not in COPIES:
            yield f"{name} calls {call}(): use copy_in() or copy_out() of kernels/cuda/device/device_memory.h"
        elif name not in WAITS.get(call, {name}):
            yield f"{name} calls {call}(): use kernels/cuda/device/wait.h"


def main():
    files = {path.relative_to(FOLDER).as_posix(): path.read_text() for path in sorted(FOLDER.rglob("*"))
             if path.suffix in (".cpp", ".cu", ".h")}
    assert MAY_CALL <= files.keys(), MAY_CALL - files.keys()
    # The test must be able to fail.
    assert list(problems("ranking/ranking.cu", "check(cudaMemsetAsync(p, 0, 4, stream));"))
    assert list(problems("device/timing.cpp", "cudaMemcpyAsync (a, b, 4, kind, stream);"))
    assert list(problems("device/timing.cpp", "cudaEventSynchronize(end);"))
    assert not list(problems("ranking/ranking.cu", "// cudaMemsetAsync(...)"))
    kernel = "__global__ void __launch_bounds__(kThreads * f(2)) run(const A<T> a, int n) { %s }"
    assert not list(problems("a.cu", kernel % "follow_previous_kernels(); n = 1;"))
    assert list(problems("a.cu", kernel % "n = 1; follow_previous_kernels();"))
    assert list(problems("a.cu", kernel % ""))
    assert list(problems("a.cu", "__global__ int f() {}"))
    assert list(problems("device/launch.h", "cudaMalloc(&p, 4);"))
    found = [problem for name, text in files.items() for problem in problems(name, text)]
    print("\n".join(found) or f"{len(files)} files: runtime calls are where they should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

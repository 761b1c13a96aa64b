#!/usr/bin/env python3
"""Calls of the CUDA runtime stand in few files, where each is within a DeviceGuard; copies between
host and device in one.

usage: runtime_calls_test.py
"""
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "kernels" / "cuda"
CALL = re.compile(r"\b(cuda[A-Z]\w*)\s*\(")
MAY_CALL = {f"device/{name}.cpp" for name in ("backend", "device_guard", "device_memory", "recording",
                                              "side_stream", "timing", "tracing", "wait")}
# Waits must end if another rank is lost.
WAITS = {"cudaStreamSynchronize": {"device/wait.cpp", "device/backend.cpp"},
         "cudaEventSynchronize": {"device/wait.cpp"}, "cudaDeviceSynchronize": set()}
# A device may read pageable memory after the call of an asynchronous copy. Only copy_in() and
# copy_out() handle this.
COPIES = {"device/device_memory.cpp"}


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def problems(name, text):
    for call in sorted(set(CALL.findall(without_comments(text)))):
        if name not in MAY_CALL:
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
    found = [problem for name, text in files.items() for problem in problems(name, text)]
    print("\n".join(found) or f"{len(files)} files: runtime calls are where they should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

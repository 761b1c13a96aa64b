"""Reads and writes the safetensors format with numpy alone. safetensors_header.py describes the format."""
import json
import struct

import numpy as np

import safetensors_header
from safetensors_header import FormatError  # noqa: F401 (part of this module's interface)

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "I64": "<i8", "I32": "<i4",
          "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
          "BOOL": "?"}
NAMES = {np.dtype(numpy_name): name for name, numpy_name in DTYPES.items()}


def _array(path, entry, data):
    raw = data[entry.begin:entry.end]
    if entry.dtype == "BF16":  # numpy lacks this type, so widen it to float32
        wide = np.frombuffer(raw, dtype="<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(entry.shape)
    if entry.dtype not in DTYPES:
        raise FormatError(f"{path}: tensor '{entry.name}' is {entry.dtype}, which numpy does not "
                          "have; convert it to F32 first")
    return np.frombuffer(raw, dtype=DTYPES[entry.dtype]).reshape(entry.shape).copy()


def read(path):
    """Returns ({name: array} in file order, metadata)."""
    with open(path, "rb") as file:
        content = file.read()
    entries, metadata, begin = safetensors_header.parse(content, path)
    data = memoryview(content)[begin:]
    try:
        return {entry.name: _array(path, entry, data) for entry in entries}, metadata
    except (ValueError, OverflowError) as error:  # numpy does not support the shape
        raise FormatError(f"{path}: {error}") from None


def write(path, tensors, metadata=None):
    """Writes {name: array}. The widest types come first, so that every tensor lies at a multiple of its
    element's size. Tensors of one width keep the given order."""
    header, offset, chunks, arrays = {}, 0, [], {}
    if metadata:
        header["__metadata__"] = {str(key): str(value) for key, value in metadata.items()}
    for name, value in tensors.items():
        if name == "__metadata__":
            raise ValueError("a tensor cannot be called __metadata__")
        array = np.asarray(value, order="C")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if little.dtype not in NAMES:
            raise TypeError(f"tensor '{name}': no safetensors dtype for {array.dtype}")
        arrays[name] = little
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].itemsize):
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
        chunks.append(array.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for chunk in chunks:
            file.write(chunk)

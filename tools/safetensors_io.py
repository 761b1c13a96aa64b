"""Reads and writes the safetensors format with numpy alone.

A file is: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
then the data of all tensors without gaps. `__metadata__` in the header maps strings to strings.
"""
import json
import struct

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
          "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
NAMES = {np.dtype(numpy_name): name for name, numpy_name in DTYPES.items()}
MAX_HEADER_BYTES = 100_000_000


class FormatError(Exception):
    """The file is not a well-formed safetensors file; the text says where."""


def _fail(path, text):
    raise FormatError(f"{path}: {text}")


def _tensor(path, name, entry, data):
    try:
        dtype, shape = entry["dtype"], [int(n) for n in entry["shape"]]
        begin, end = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        _fail(path, f"tensor '{name}' has a malformed entry ({error})")
    if not 0 <= begin <= end <= len(data):
        _fail(path, f"tensor '{name}' lies outside the file ({begin}..{end} of {len(data)} bytes)")
    if dtype == "BF16":  # numpy has no such type: widen to float32
        item_bytes = 2
    elif dtype in DTYPES:
        item_bytes = np.dtype(DTYPES[dtype]).itemsize
    else:
        _fail(path, f"tensor '{name}' has unknown dtype '{dtype}'")
    count = 1
    for size in shape:
        count *= size
    if count * item_bytes != end - begin:
        _fail(path, f"tensor '{name}': shape {shape} of {dtype} needs {count * item_bytes} bytes, "
                    f"has {end - begin}")
    raw = data[begin:end]
    if dtype == "BF16":
        wide = np.frombuffer(raw, dtype="<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(shape)
    return np.frombuffer(raw, dtype=DTYPES[dtype]).reshape(shape).copy()


def read(path):
    """Returns ({name: array} in file order, metadata)."""
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < 8:
        _fail(path, f"only {len(content)} bytes: truncated")
    (header_bytes,) = struct.unpack("<Q", content[:8])
    if header_bytes > min(MAX_HEADER_BYTES, len(content) - 8):
        _fail(path, f"header of {header_bytes} bytes does not fit: truncated or not safetensors")
    try:
        header = json.loads(content[8:8 + header_bytes].decode("utf-8"))
    except ValueError as error:
        _fail(path, f"header is not JSON ({error})")
    if not isinstance(header, dict):
        _fail(path, "header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    data = memoryview(content)[8 + header_bytes:]
    tensors, covered = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
        tensors[name] = _tensor(path, name, entry, data)
        if entry["data_offsets"][0] != covered:
            _fail(path, f"gap or overlap before tensor '{name}'")
        covered = entry["data_offsets"][1]
    if covered != len(data):
        _fail(path, f"{len(data) - covered} bytes after the last tensor")
    return tensors, metadata


def write(path, tensors, metadata=None):
    """Writes {name: array} in the given order."""
    header, offset, chunks = {}, 0, []
    if metadata:
        header["__metadata__"] = {str(key): str(value) for key, value in metadata.items()}
    for name, value in tensors.items():
        array = np.asarray(value, order="C")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if little.dtype not in NAMES:
            raise TypeError(f"tensor '{name}': no safetensors dtype for {array.dtype}")
        header[name] = {"dtype": NAMES[little.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + little.nbytes]}
        offset += little.nbytes
        chunks.append(little.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for chunk in chunks:
            file.write(chunk)

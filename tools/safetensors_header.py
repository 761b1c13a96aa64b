"""Reads the header of a safetensors file as strictly as the reader of the format's authors does.

A file consists of 8 bytes with the little-endian length of the header, the header, and the data of all
tensors without a gap. The header is a JSON object {name: {dtype, shape, data_offsets}}. Its member
`__metadata__` maps strings to strings. Needs the standard library only.

engine/formats/safetensors_read.cpp follows the same rules. Tests compare both with the verdicts of the
package `safetensors` (tests/golden/safetensors_headers.json). Two rules follow the description of
the format, while the package is more lenient: a name that appears twice in an object is an error,
and the entry of a tensor must be an object (the package also accepts a list of its three fields).
"""
import json
import math
import struct

MAX_HEADER_BYTES = 100_000_000
MAX_DEPTH = 127  # depth of nested arrays and objects
SIZE_LIMIT = 1 << 64

# Maps a type to the bits of an element.
DTYPE_BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8,
              "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16,
              "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64,
              "I64": 64, "U64": 64}


class FormatError(Exception):
    """The file is not a well-formed safetensors file; the text says where."""


class Entry:
    """A tensor of the header; `begin` and `end` are byte offsets into the data."""

    def __init__(self, name, dtype, shape, begin, end):
        self.name, self.dtype, self.shape = name, dtype, shape
        self.begin, self.end = begin, end


def _is_size(value):
    # In Python, bool is a subclass of int; in JSON, it is not a number.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SIZE_LIMIT


def _object(pairs):
    found = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the name '{key}' occurs twice")
        found[key] = value
    return found


def _constant(text):
    raise ValueError(f"{text} is not a number of JSON")


def _float(text):
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is too large")
    return value


def _integer(text):
    # The format's reader treats "-0" and integers beyond 64 bits as floats.
    if text == "-0" or len(text) > 20:
        return _float(text)
    return int(text)


def _check_depth(text):
    """Refuses text that is nested too deeply, before a recursive parser reads it."""
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        elif character in "]}":
            depth -= 1


def _check_surrogates(value):
    """Refuses half of a surrogate pair written as an escape, because it is not a character."""
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("a string holds half of a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)


def _json(text):
    _check_depth(text)
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant,
                       parse_float=_float, parse_int=_integer)
    _check_surrogates(value)
    return value


def _fields(entry):
    """Returns (dtype, shape, data_offsets) of an entry without checking them. A ValueError names what is
    missing."""
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    for key in ("dtype", "shape", "data_offsets"):
        if key not in entry:
            raise ValueError(f"'{key}' is missing")
    return entry["dtype"], entry["shape"], entry["data_offsets"]


def _entry(name, value):
    dtype, shape, offsets = _fields(value)
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ValueError(f"unknown dtype {json.dumps(dtype)}")
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise ValueError(f"the shape {json.dumps(shape)} is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ValueError(f"data_offsets {json.dumps(offsets)} are not two offsets")
    begin, end = offsets
    return Entry(name, dtype, shape, begin, end)


def _check_bytes(entry):
    """Checks that the shape needs as many bytes as the entry has, and that no product exceeds 64 bits."""
    count = 1
    for size in (*entry.shape, DTYPE_BITS[entry.dtype]):
        count *= size
        if count >= SIZE_LIMIT:
            raise ValueError(f"the shape {entry.shape} is too large")
    if count % 8:
        raise ValueError(f"{count} bits of {entry.dtype} do not fill bytes")
    if count // 8 != entry.end - entry.begin:
        raise ValueError(f"the shape {entry.shape} of {entry.dtype} needs {count // 8} bytes, but there "
                         f"are {entry.end - entry.begin}")


def parse(content, name):
    """Returns (entries in the order of their data, metadata, offset of the data) for the bytes of a file.
    Raises FormatError, whose text begins with `name`, if anything is wrong."""

    def fail(text):
        raise FormatError(f"{name}: {text}")

    if len(content) < 8:
        fail(f"it has only {len(content)} bytes, so it was truncated")
    (header_bytes,) = struct.unpack("<Q", content[:8])
    if header_bytes > min(MAX_HEADER_BYTES, len(content) - 8):
        fail(f"its header of {header_bytes} bytes does not fit, so it was truncated or is not a "
             "safetensors file")
    try:
        header = _json(bytes(content[8:8 + header_bytes]).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # wrong UTF-8 raises a ValueError, too
        fail(f"the header is not JSON ({error})")
    if not isinstance(header, dict):
        fail("the header is not a JSON object")
    metadata = header.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        fail("__metadata__ is not an object")
    for key, value in metadata.items():
        if not isinstance(value, str):
            fail(f"'{key}' of __metadata__ is not a string")

    entries = []
    for tensor, value in header.items():
        try:
            entries.append(_entry(tensor, value))
        except ValueError as error:
            fail(f"tensor '{tensor}' has a malformed entry: {error}")
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    covered, data_bytes = 0, len(content) - 8 - header_bytes
    for entry in entries:
        if entry.begin != covered or entry.end < entry.begin:
            fail(f"there is a gap or an overlap: tensor '{entry.name}' has the byte range {entry.begin} "
                 f"to {entry.end}, but the tensor before it ends at byte {covered}")
        if entry.end > data_bytes:
            fail(f"tensor '{entry.name}' ends at byte {entry.end}, but the data has {data_bytes} bytes")
        try:
            _check_bytes(entry)
        except ValueError as error:
            fail(f"tensor '{entry.name}': {error}")
        covered = entry.end
    if covered != data_bytes:
        fail(f"there are {data_bytes - covered} bytes after the last tensor")
    return entries, metadata, 8 + header_bytes

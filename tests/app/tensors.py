"""Reads and writes safetensors files with the standard library only."""
import json
import struct

WORD = (1 << 64) - 1


def read_tensors(path):
    """Returns {name: (dtype, shape, bytes)} for a safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], content[8 + length + begin:8 + length + end])
    return tensors


def write_tensors(path, tensors):
    """Writes a file as the package safetensors does, without a checksum."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def checksum(parts):
    """engine/core/checksum.h, in Python."""
    state = 0x736166657465736E
    for part in parts:
        padded = part + b"\0" * (-len(part) % 8)
        for word in (len(part), *struct.unpack(f"<{len(padded) // 8}Q", padded)):
            mixed = (state ^ word) * 0x9E3779B97F4A7C15 & WORD
            state = (mixed << 29 | mixed >> 35) & WORD
    return f"{state:016x}"


def with_right_checksum(content):
    """Returns the content of a checkpoint with the checksum that fits the rest of it."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = content[8:8 + size], content[8 + size:]
    entries = json.loads(header)
    digits = entries.pop("__metadata__")["checksum"].encode()
    tensors = sorted(entry["data_offsets"] for entry in entries.values())
    right = checksum([content[:8], header.replace(digits, b"0" * 16), *(data[a:b] for a, b in tensors)])
    return content[:8] + header.replace(digits, right.encode()) + data


def metadata_of(path):
    content = path.read_bytes()
    return json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]

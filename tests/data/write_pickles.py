#!/usr/bin/env python3
"""Writes CIFAR's binary files as the pickles that torchvision downloads, with Python's own pickle.

usage: write_pickles.py STYLE SET FROM TO

STYLE: "python2", as the official files are (every text is bytes, protocol 2), or the protocol that
Python 3 writes with: 2, 3, 4 or 5. SET: cifar10 or cifar100. Needs no numpy: classes of the same names
stand for its own, so that the stream is the same.
"""
import io
import pickle
import struct
import sys
import types
from pathlib import Path

PIXELS = 3072


def stand_in(module, **names):
    made = types.ModuleType(module)
    for name, value in names.items():
        value.__module__, value.__qualname__ = module, name
        setattr(made, name, value)
    sys.modules[module] = made


def _reconstruct():
    pass


class dtype:
    def __reduce__(self):
        return dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)


class ndarray:
    def __init__(self, rows, data):
        self.rows, self.data = rows, data

    def __reduce__(self):
        state = (1, (self.rows, PIXELS), dtype(), False, self.data)
        return _reconstruct, (ndarray, (0,), b"b"), state


class Python2Pickler(pickle._Pickler):
    """Writes bytes as the str of Python 2, with instructions that Python 3 no longer writes."""
    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        if len(value) < 256:
            self.write(b"U" + bytes([len(value)]) + value)
        else:
            self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    def save_text(self, value):
        self.save_bytes(value.encode())

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text


def pickled(batch, style):
    if style != "python2":
        return pickle.dumps(batch, int(style))
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(batch)
    return stream.getvalue()


def batch_of(binary, label_bytes, name, style):
    size = label_bytes + PIXELS
    records = [binary[i:i + size] for i in range(0, len(binary), size)]
    batch = {"batch_label": name,
             "data": ndarray(len(records), b"".join(r[label_bytes:] for r in records)),
             "filenames": [f"image_{i:05}.png" for i in range(len(records))]}
    if label_bytes == 1:
        batch["labels"] = [r[0] for r in records]
    else:
        batch["coarse_labels"] = [r[0] for r in records]
        batch["fine_labels"] = [r[1] for r in records]
    return {key.encode(): value for key, value in batch.items()} if style == "3" else batch


def main(style, dataset, source, target):
    stand_in("numpy.core.multiarray", _reconstruct=_reconstruct)
    stand_in("numpy.core")
    stand_in("numpy", ndarray=ndarray, dtype=dtype)
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(source).glob("*.bin")):
        batch = batch_of(path.read_bytes(), 1 if dataset == "cifar10" else 2, path.stem, style)
        (target / path.stem).write_bytes(pickled(batch, style))


if __name__ == "__main__":
    main(*sys.argv[1:])

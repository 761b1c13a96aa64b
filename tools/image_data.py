"""Reads CIFAR-10, CIFAR-100 (binary), MNIST and Fashion-MNIST (IDX) as numpy arrays."""
import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

# Mean and standard deviation per channel of the training images with pixels in [0, 1]. data/ has the same
# numbers.
NORMALIZATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "mnist": 10, "fashion_mnist": 10}


class DataError(Exception):
    """A data file is missing or malformed; the text names it."""


def _cifar_file(path, label_bytes):
    row = label_bytes + 3072
    content = np.frombuffer(_require(path).read_bytes(), dtype=np.uint8)
    if content.size == 0 or content.size % row:
        raise DataError(f"{path}: its size of {content.size} bytes is not a multiple of {row}; is it "
                        "truncated?")
    content = content.reshape(-1, row)
    # If there are two labels (CIFAR-100), the second is the fine one.
    return (content[:, label_bytes:].reshape(-1, 3, 32, 32).copy(),
            content[:, label_bytes - 1].astype(np.int64))


def _idx_file(root, stem):
    for name in (stem, stem.replace("-idx", ".idx"), stem + ".gz"):
        path = root / name
        if path.exists():
            content = path.read_bytes()
            break
    else:
        raise DataError(f"{root / stem} is not there (nor {stem}.gz); tools/get_data fetches it, "
                        "--data names its folder")
    try:
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        rank = content[3]
        shape = struct.unpack(f">{rank}I", content[4:4 + 4 * rank])
    except (OSError, EOFError, IndexError, struct.error, zlib.error) as problem:
        raise DataError(f"{path} is not an IDX file, or is truncated ({problem})") from None
    data = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank)
    if data.size != math.prod(shape):
        raise DataError(f"{path}: {data.size} bytes of data, its header says {math.prod(shape)}")
    return data.reshape(shape)


def load(name, root, split):
    """Returns images [n, channels, height, width] uint8 and labels [n] int64 of 'train' or 'test'."""
    root = Path(root)
    if name == "cifar10":
        files = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else [
            "test_batch.bin"]
        root = next((p for p in (root, root / "cifar-10-batches-bin") if (p / files[0]).exists()),
                    root)
        parts = [_cifar_file(root / file, 1) for file in files]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    if name == "cifar100":
        file = f"{split}.bin"
        root = next((p for p in (root, root / "cifar-100-binary") if (p / file).exists()), root)
        return _cifar_file(root / file, 2)
    if name in ("mnist", "fashion_mnist"):
        prefix = "train" if split == "train" else "t10k"
        images = _idx_file(root, f"{prefix}-images-idx3-ubyte")
        labels = _idx_file(root, f"{prefix}-labels-idx1-ubyte")
        return images[:, None], labels.astype(np.int64)
    if name == "synthetic":
        raise DataError("the data set 'synthetic' is made by sculpt_run and has no files that could be "
                        f"read here; there are {', '.join(CLASSES)}")
    raise DataError(f"the data set '{name}' is not known here; there are {', '.join(CLASSES)}")


def _require(path):
    if not path.exists():
        raise DataError(f"{path} is not there; tools/get_data fetches it, --data names its folder")
    return path

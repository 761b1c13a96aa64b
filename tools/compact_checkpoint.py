"""Reads the compact files of `sculpt_analyze export --compact` with numpy alone. docs/analyses.md describes the
format."""
import numpy as np

import safetensors_io
from safetensors_header import FormatError

FORMAT = "sculpt-compact-1"


def read(path):
    """Returns ({name: array}, {name: mask}) with every parameter in its whole shape, masked weights being 0. Only
    parameters with masked weights have a mask."""
    tensors, metadata = safetensors_io.read(path)
    if metadata.get("format") != FORMAT:
        raise FormatError(f"{path}: its format is '{metadata.get('format', '')}', not '{FORMAT}'")
    arrays, masks = {}, {}
    for name, array in tensors.items():
        parameter, _, part = name.rpartition(".")
        if part in ("indices", "shape") and f"{parameter}.values" in tensors:
            continue
        if part != "values" or f"{parameter}.indices" not in tensors:
            arrays[name] = array
            continue
        shape = [int(n) for n in tensors[f"{parameter}.shape"]]
        dense, mask = np.zeros(int(np.prod(shape)), array.dtype), np.zeros(int(np.prod(shape)), bool)
        places = tensors[f"{parameter}.indices"]
        dense[places], mask[places] = array, True
        arrays[parameter], masks[parameter] = dense.reshape(shape), mask.reshape(shape)
    return arrays, masks

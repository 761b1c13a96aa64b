"""tools/safetensors_io.py: what is written is read back; damaged files are refused by name."""
import struct
import sys
import tempfile
import unittest
from pathlib import Path

import common

try:
    import numpy as np
except ImportError:
    print("skipped: numpy is not installed")
    sys.exit(77)
import safetensors_io


class Safetensors(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "x.safetensors"
        self.tensors = {"b": np.arange(12, dtype=np.float32).reshape(3, 4).T,
                        "a": np.array(3, dtype=np.int64), "m": np.ones((5,), dtype=np.uint8),
                        "empty": np.zeros((0, 3), dtype=np.float64)}
        safetensors_io.write(self.path, self.tensors, {"version": 1})

    def test_round_trip(self):
        read, metadata = safetensors_io.read(self.path)
        self.assertEqual(metadata, {"version": "1"})
        self.assertEqual(set(read), set(self.tensors))
        for name, value in self.tensors.items():
            self.assertEqual(read[name].dtype, value.dtype)
            np.testing.assert_array_equal(read[name], value)

    def test_every_truncation_is_refused(self):
        content = self.path.read_bytes()
        for length in range(len(content)):
            self.path.write_bytes(content[:length])
            with self.assertRaises(safetensors_io.FormatError, msg=str(length)):
                safetensors_io.read(self.path)

    def test_wrong_shape_is_refused(self):
        header = b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}'
        self.path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        with self.assertRaisesRegex(safetensors_io.FormatError, "'w'.*needs 12 bytes, has 8"):
            safetensors_io.read(self.path)

    def test_golden_file(self):
        golden, metadata = safetensors_io.read(
            common.ROOT / "tests" / "golden" / "resnet20_step.safetensors")
        self.assertEqual(metadata["format"], "sculpt-golden-step")
        self.assertEqual(golden["loss"].shape, (int(metadata["steps"]),))
        parameters = [name[8:] for name in golden if name.startswith("initial.")]
        self.assertEqual(len(parameters), 65)
        for name in parameters:
            self.assertEqual(golden["initial." + name].shape, golden["gradient." + name].shape)


if __name__ == "__main__":
    unittest.main()

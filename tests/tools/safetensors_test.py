"""tools/safetensors_io.py reads back what it writes, and refuses damaged files by name."""
import json
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
import safetensors_header
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

    def test_wide_types_are_aligned(self):
        tensors = {"m": np.ones((3,), dtype=np.uint8), "w": np.arange(2, dtype=np.float32),
                   "h": np.ones((1,), dtype=np.float16), "d": np.ones((1,), dtype=np.float64),
                   "k": np.ones((2,), dtype=np.uint8), "b": np.zeros((3,), dtype=">f4")}
        safetensors_io.write(self.path, tensors)
        entries, _, begin = safetensors_header.parse(self.path.read_bytes(), "f")
        self.assertEqual([entry.name for entry in entries], ["d", "w", "b", "h", "m", "k"])
        self.assertEqual(begin % 8, 0)
        for entry in entries:
            width = safetensors_header.DTYPE_BITS[entry.dtype] // 8
            self.assertEqual(entry.begin % width, 0, entry.name)
        read, _ = safetensors_io.read(self.path)
        np.testing.assert_array_equal(read["w"], tensors["w"])

    def test_what_numpy_does_not_have_is_a_format_error(self):
        for dtype, shape, data in (("F8_E4M3", [2], 2), ("F4", [2], 1), ("U8", [1] * 70, 1),
                                   ("U8", [0, 2**63], 0)):
            header = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, data]}})
            self.path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(data))
            with self.assertRaises(safetensors_io.FormatError, msg=dtype):
                safetensors_io.read(self.path)

    def test_the_package_reads_what_is_written(self):
        try:
            import safetensors.numpy
        except ImportError:
            self.skipTest("the package safetensors is not installed")
        read = safetensors.numpy.load_file(self.path)
        self.assertEqual(set(read), set(self.tensors))
        for name, value in self.tensors.items():
            np.testing.assert_array_equal(read[name], value)

    def test_a_tensor_cannot_take_the_place_of_the_metadata(self):
        with self.assertRaisesRegex(ValueError, "__metadata__"):
            safetensors_io.write(self.path, {"__metadata__": np.zeros(1)})

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

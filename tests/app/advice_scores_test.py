"""Scores that cannot be computed from the weights that a run starts with: the advice is followed."""
import json
import struct

from common import ProgramTest, main, sculpt_run


def sets(*settings):
    return [word for setting in settings for word in ("--set", setting)]


def every_weight(name, _shape):
    return not name.endswith(("running_mean", "running_var"))


def kernels_only(_name, shape):
    """Weights of convolutions, whose size batch norm takes out again."""
    return len(shape) == 4


def scaled(source, target, factor, chosen):
    """The checkpoint `source` with the chosen weights times `factor`, without its checksum."""
    content = source.read_bytes()
    size, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__")
    data = bytearray(content[8 + size:])
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "F32" and chosen(name, entry["shape"]):
            count = (end - begin) // 4
            values = struct.unpack_from(f"<{count}f", data, begin)
            struct.pack_into(f"<{count}f", data, begin, *(factor * value for value in values))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return target


class Scores(ProgramTest):
    SHORT = sets("train.epochs=1", "prune.score_images_per_class=2")

    def setUp(self):
        super().setUp()
        self.finish(self.config, *self.SHORT, *sets("method=dense"), "--out", self.folder / "base")

    def check(self, criterion, factor, chosen, *parts):
        base = self.folder / "base" / "checkpoints" / "final.safetensors"
        bad = scaled(base, self.folder / f"{factor}.safetensors", factor, chosen)
        words = [self.config, *self.SHORT, *sets("method=pai", "model.init_parts=weights",
                                                 "prune.allocation=global")]
        start, scored = sets(f"model.init_from={bad}"), sets(f"prune.criterion={criterion}")
        out = self.folder / criterion
        done = self.assert_fails(1, [*parts, "start from other weights, or use another criterion"],
                                 *words, *start, *scored, "--out", out)
        self.finish(*words, *sets(f"model.init_from={base}"), *scored, "--out", out / "weights")
        self.finish(*words, *start, *sets("prune.criterion=random"), "--out", out / "criterion")
        return done

    def test_grasp_without_a_gradient(self):
        self.check("grasp", 0.0, every_weight, "the norm of the gradient is 0")

    def test_synflow_beyond_the_range_of_double(self):
        self.check("synflow", 1e16, kernels_only, "the score of element", "the range of double")


if __name__ == "__main__":
    main()

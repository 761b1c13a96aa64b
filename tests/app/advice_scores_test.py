"""If scores cannot be computed from the first weights of a run, the advice is followed."""
import struct

from common import ProgramTest, main, sets
from tensors import read_tensors, write_tensors


def every_weight(name, _shape):
    return not name.endswith(("running_mean", "running_var"))


def kernels_only(_name, shape):
    """Returns true for weights of convolutions. Batch norm divides by their scale."""
    return len(shape) == 4


def scaled(source, target, factor, chosen):
    """Writes the checkpoint `source` with the chosen weights times `factor`, without its checksum."""
    tensors = read_tensors(source)
    for name, (dtype, shape, content) in tensors.items():
        if dtype == "F32" and chosen(name, shape):
            numbers = struct.unpack(f"<{len(content) // 4}f", content)
            content = struct.pack(f"<{len(numbers)}f", *(factor * number for number in numbers))
            tensors[name] = (dtype, shape, content)
    return write_tensors(target, tensors)


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

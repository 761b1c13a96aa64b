"""tools/scale_model.py against values computed by hand, a ring that is played through message by message, and
limits that hold for any network and link."""
import contextlib
import io
import random
import unittest
from dataclasses import replace

from common import ROOT
import scale_model as model

# A link on which a byte takes a microsecond.
SLOW = model.Link("slow", 1e6, 0.0, 0.0, "")
DOCUMENT = ROOT / "docs" / "results" / "scale_model.md"


def play_ring(values):
    """Sums the ranks' arrays by a ring of messages. Returns the arrays, and for each rank the lengths of the
    messages that it has sent. The parts of an array are as equal as they can be."""
    ranks, length = len(values), len(values[0])
    arrays = [list(array) for array in values]
    cuts = [length * part // ranks for part in range(ranks + 1)]
    sent = [[] for _ in range(ranks)]
    for turn in range(2 * (ranks - 1)):
        messages = []
        for rank in range(ranks):
            part = (rank - turn) % ranks if turn < ranks - 1 else (rank + 1 - (turn - ranks + 1)) % ranks
            messages.append((part, arrays[rank][cuts[part]:cuts[part + 1]]))
            sent[rank].append(len(messages[-1][1]))
        for rank in range(ranks):
            part, content = messages[rank - 1]
            for i, value in enumerate(content, cuts[part]):
                arrays[rank][i] = arrays[rank][i] + value if turn < ranks - 1 else value
    return arrays, sent


def random_layers(choice):
    return [model.Layer(f"layer{i}", choice.randrange(1, 10_000), choice.randrange(0, 100), choice.randrange(1, 10**6))
            for i in range(choice.randrange(1, 40))]


def random_link(choice, latency=True):
    a = choice.uniform(0, 1e-3) if latency else 0.0
    return model.Link("random", 10 ** choice.uniform(5, 9), a, 2 * a, "")


class Sums(unittest.TestCase):
    def test_by_hand(self):
        link = model.Link("link", 1e8, 1e-3, 2e-3, "")
        self.assertAlmostEqual(model.ring_seconds(1e6, 4, link), 6e-3 + 15e-3)
        self.assertAlmostEqual(model.tree_seconds(1e6, 4, link), 4 * 2e-3 + 20e-3)
        self.assertAlmostEqual(model.tree_seconds(1e6, 5, link), 6 * 2e-3 + 20e-3)
        self.assertAlmostEqual(model.sum_seconds(1e6, 4, link), 21e-3)
        # The tree wins where latency counts: 1,022 messages against 18.
        self.assertAlmostEqual(model.sum_seconds(1e6, 512, link), 18 * 2e-3 + 20e-3)

    def test_one_rank_costs_nothing(self):
        for link in model.LINKS.values():
            for seconds in (model.ring_seconds, model.tree_seconds, model.sum_seconds):
                self.assertEqual(seconds(1e9, 1, link), 0)
            for row in model.rows(model.resnet50(), model.COMPUTERS["gpu"], link, ranks=[1]):
                self.assertEqual(row.efficiency(row.overlapped), 1)
                self.assertEqual(row.efficiency(row.plain), 1)

    def test_a_ring_that_is_played(self):
        choice = random.Random(3)
        for ranks in range(2, 10):
            length = ranks * choice.randrange(1, 50)
            values = [[choice.randrange(1000) for _ in range(length)] for _ in range(ranks)]
            arrays, sent = play_ring(values)
            self.assertEqual(arrays, [[sum(column) for column in zip(*values)]] * ranks)
            link = model.Link("link", 1e6, 1e-3, 0.0, "")
            expected = max(sum(1e-3 + 4 * count / 1e6 for count in counts) for counts in sent)
            self.assertAlmostEqual(model.ring_seconds(4 * length, ranks, link), expected)

    def test_limits(self):
        choice = random.Random(4)
        for _ in range(100):
            link, size, ranks = random_link(choice, latency=False), choice.uniform(1, 1e9), choice.randrange(2, 5000)
            ring = model.ring_seconds(size, ranks, link)
            self.assertAlmostEqual(ring * link.bandwidth / size, 2 * (ranks - 1) / ranks)
            self.assertLess(ring, model.tree_seconds(size, ranks, link))
            self.assertLess(ring, model.ring_seconds(size, ranks + 1, link))

    def test_nodes(self):
        node, size = model.LINKS["node"], 1e8
        self.assertEqual(model.sum_seconds(size, 8, node), model.sum_seconds(size, 8, model.NVLINK))
        # 14 messages of 1/8 by NVLink; 8 nodes sum 1/8 by a ring of 14 messages or a tree of depth 3.
        inside = 14 * 3.4e-6 + 14 / 8 * size / 380e9
        ring, tree = 14 * 14e-6 + 14 / 8 * (size / 8) / 50e9, 6 * 14e-6 + 2 * (size / 8) / 50e9
        self.assertAlmostEqual(model.sum_seconds(size, 64, node), inside + min(ring, tree), places=12)
        with self.assertRaisesRegex(ValueError, "12 ranks do not fill nodes of 8"):
            model.sum_seconds(size, 12, node)

    def test_measured_rings(self):
        rings = [one for one in model.MEASURED if one.what == model.RING]
        self.assertEqual(len(rings), 2)
        for one in rings:
            seconds = model.ring_seconds(4 * one.floats, one.ranks, model.LINKS[one.link])
            self.assertLess(abs(seconds / one.seconds - 1), 0.03, one)


class Gradients(unittest.TestCase):
    def test_resnet50(self):
        """The numbers of the usual implementation, and those that `sculpt_run --describe` prints for 10 classes
        and 32 x 32 pixels (model.stem = imagenet)."""
        layers = model.resnet50()
        self.assertEqual(len(layers), 54)
        self.assertEqual(sum(layer.weights + layer.others for layer in layers), 25_557_032)
        self.assertEqual(sum(layer.weights for layer in layers), 25_502_912)
        self.assertEqual(sum(layer.multiply_adds for layer in layers), 4_089_184_256)
        layers = model.resnet50(image=32, classes=10)
        self.assertEqual(sum(layer.weights + layer.others for layer in layers), 23_528_522)
        self.assertEqual(sum(layer.weights for layer in layers), 23_475_392)
        self.assertEqual(f"{sum(layer.multiply_adds for layer in layers) / 1e6:.2f}", "83.43")

    def test_bytes(self):
        layers = [model.Layer("a", 1000, 10, 1), model.Layer("b", 200, 0, 1)]
        self.assertEqual(model.gradient_bytes(layers, 0), 4 * 1210)
        self.assertEqual(model.gradient_bytes(layers, 0.9), 4 * (100 + 10 + 20))
        self.assertEqual(model.gradient_bytes(layers, 0.99), 4 * (10 + 10 + 2))

    def test_buckets_by_hand(self):
        layers = [model.Layer("first", 100, 0, 50), model.Layer("middle", 300, 0, 30), model.Layer("last", 10, 0, 20)]
        self.assertEqual(model.buckets(layers, 0, 4 * 305), [(0.5, 4 * 310), (1.0, 4 * 100)])
        # A mask changes the bytes and not the places of the buckets.
        self.assertEqual(model.buckets(layers, 0.9, 4 * 305), [(0.5, 4 * 31), (1.0, 4 * 10)])
        self.assertEqual(model.buckets(layers, 0, 1e9), [(1.0, 4 * 410)])

    def test_buckets_hold_everything(self):
        choice = random.Random(5)
        for _ in range(100):
            layers, sparsity = random_layers(choice), choice.random()
            found = model.buckets(layers, sparsity, choice.uniform(1, 1e5))
            self.assertEqual(sum(size for _, size in found), model.gradient_bytes(layers, sparsity))
            shares = [share for share, _ in found]
            self.assertEqual(shares, sorted(shares))
            self.assertAlmostEqual(shares[-1], 1)


class Steps(unittest.TestCase):
    def test_by_hand(self):
        # A forward pass of 1 s, a backward pass of 2 s, two ranks: a ring sends the bytes once.
        for sizes, expected in (((1e6, 5e5), 3.5),   # the first bucket travels from 2 to 3, the second one from 3
                                ((2e6, 5e5), 4.5),   # the second bucket waits for the first one until 4
                                ((0, 0), 3.0)):
            found = model.step_seconds(3.0, list(zip((0.5, 1.0), sizes)), 2, SLOW)
            self.assertAlmostEqual(found, expected)

    def test_one_bucket_is_no_overlap(self):
        self.assertAlmostEqual(model.step_seconds(3.0, [(1.0, 1e6)], 4, SLOW), 3.0 + 1.5)

    def test_limits(self):
        choice = random.Random(6)
        for _ in range(100):
            layers, link, ranks = random_layers(choice), random_link(choice), choice.randrange(1, 300)
            computer = model.Computer(1, choice.uniform(0, 0.1), (1, 2, 3, 4), "")
            for row in model.rows(layers, computer, link, [ranks], bucket_bytes=choice.uniform(1, 1e5)):
                self.assertGreaterEqual(row.overlapped, row.compute)
                self.assertGreaterEqual(row.whole, row.overlapped)
                self.assertEqual(row.plain, row.compute + row.sum)
                self.assertEqual(row.sum, min(row.ring, row.tree))
            without = replace(link, ring_latency=0.0, tree_latency=0.0)
            for row in model.rows(layers, computer, without, [ranks]):
                # Without latencies, buckets cost nothing, and the last one cannot be hidden.
                self.assertLessEqual(row.overlapped, row.plain * (1 + 1e-12))
                self.assertGreaterEqual(row.overlapped, row.sum)

    def test_speedups_belong_to_sparsities(self):
        computer = model.COMPUTERS["cpu"]
        found = model.rows(model.resnet50(), computer, SLOW, [2])
        self.assertEqual([row.compute for row in found], [computer.step / s for s in (1, 4.00, 5.68, 10.92)])


class Command(unittest.TestCase):
    def output(self, *words):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(model.main(list(words)), 0)
        return out.getvalue()

    def test_document_is_what_it_prints(self):
        text = DOCUMENT.read_text()
        self.assertIn(self.output("--report"), text)
        self.assertIn(self.output("--check"), text)

    def test_arguments(self):
        # 100 ms, and 10 ms at 99 %; 4 x 25,557,032 bytes once, by two ranks, at half of 50 GB/s, and 2 messages.
        lines = self.output("--links", "400g", "--ranks", "2", "--sparsities", "0,0.99", "--step-ms", "100", "--speedups",
                            "1,10", "--batch", "64", "--bandwidth-share", "0.5").splitlines()
        self.assertEqual(lines[0], "### 400 Gb/s, batch 64 a rank")
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:]]
        self.assertEqual(len(cells), 2)
        self.assertEqual(cells[0][:8], ["2", "0 %", "102", "100", "4.12", "8.21", "104", "96.0 %"])
        self.assertEqual(cells[1][:4], ["2", "99 %", "1.24", "10.0"])

    def test_mistakes(self):
        for words, part in ((["--links", "1g,pigeon"], "pigeon is none of nvlink"),
                            (["--links", "node", "--ranks", "12"], "12 ranks do not fill"),
                            (["--ranks", "0"], "--ranks 0: expected at least 1"),
                            (["--sparsities", "1"], "--sparsities 1: expected at least 0 and below 1"),
                            (["--sparsities", "x"], "--sparsities x: not a number"),
                            (["--speedups", "1,2"], "expected 4, one for each sparsity"),
                            (["--computer", "cpu", "--sparsities", "0.5"], "no measured speedup at sparsity 0.5"),
                            (["--bandwidth-share", "0"], "--bandwidth-share 0: expected more than 0")):
            with self.subTest(words), contextlib.redirect_stderr(io.StringIO()) as error, \
                    self.assertRaises(SystemExit) as left:
                model.main(words)
            self.assertEqual(left.exception.code, 2)
            self.assertIn(part, error.getvalue())


if __name__ == "__main__":
    unittest.main()

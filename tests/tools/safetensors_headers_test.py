"""tools/safetensors_header.py accepts and refuses what the package `safetensors` does: on the headers
of tests/golden/safetensors_headers.json, and live on new ones where the package is installed. Needs
the standard library only."""
import json
import random
import struct
import unittest

import common
import make_safetensors_corpus as corpus
import safetensors_header

try:
    import safetensors
except ImportError:
    safetensors = None

CORPUS = common.ROOT / "tests" / "golden" / "safetensors_headers.json"


def ours(content):
    """Returns the verdict of Sculpt's reader. Any exception but FormatError is a crash."""
    try:
        entries, _, _ = safetensors_header.parse(content, "f")
    except safetensors_header.FormatError:
        return None
    return sorted([e.name, e.dtype, e.shape, e.end - e.begin] for e in entries)


class Headers(unittest.TestCase):
    def test_verdicts_of_the_package(self):
        cases = json.loads(CORPUS.read_text(encoding="utf-8"))["cases"]
        self.assertGreater(len(cases), 500)
        self.assertGreater(sum("tensors" in case for case in cases), 80)
        for case in cases:
            expected = None if "stricter" in case else case.get("tensors")
            with self.subTest(case=case):
                self.assertEqual(ours(corpus.content_of(case)), expected)

    @unittest.skipIf(safetensors is None, "the package safetensors is not installed")
    def test_verdicts_of_the_package_on_new_headers(self):
        rng = random.SystemRandom()
        for text, data, _, _ in corpus.random_cases(rng, 4000):
            content = corpus.content_of({"header": text, "data": data})
            theirs, found = corpus.verdict(content), ours(content)
            if theirs is not None and found is None and corpus.why_stricter(text):
                continue
            self.assertEqual(found, theirs, content)

    @unittest.skipIf(safetensors is None, "the package safetensors is not installed")
    def test_the_committed_verdicts_are_still_those_of_the_package(self):
        # A newer package may accept more types or refuse more files. The corpus is then written again.
        for case in json.loads(CORPUS.read_text(encoding="utf-8"))["cases"]:
            with self.subTest(case=case):
                self.assertEqual(corpus.verdict(corpus.content_of(case)), case.get("tensors"))

    def test_changed_bytes_end_in_a_format_error_or_in_tensors_inside_the_file(self):
        rng = random.Random(9)
        good = corpus.content_of({"header": corpus.MANY, "data": 35})
        for _ in range(4000):
            content = bytearray(good)
            for _ in range(rng.randint(1, 6)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            if rng.random() < 0.2:
                del content[rng.randrange(len(content)):]
            for _, _, _, length in ours(bytes(content)) or ():
                self.assertLessEqual(length, len(content))
        for _ in range(1000):
            content = bytes(rng.randrange(256) for _ in range(rng.randrange(100)))
            self.assertIsNone(ours(content))

    def test_messages_name_the_place(self):
        def message(header, data):
            content = struct.pack("<Q", len(header)) + header.encode() + bytes(data)
            with self.assertRaises(safetensors_header.FormatError) as caught:
                safetensors_header.parse(content, "x.safetensors")
            return str(caught.exception)

        self.assertEqual(message('{"a": 3}', 0),
                         "x.safetensors: tensor 'a' has a malformed entry: it is not an object")
        self.assertRegex(message(corpus.entry(shape="[-2,-1]"), 8), r"'a'.*\[-2, -1\].*sizes")
        self.assertRegex(message(corpus.entry(shape="[2.7]"), 8), r"'a'.*\[2.7\].*sizes")
        self.assertRegex(message('{"a":1,"a":1}', 0), "'a' occurs twice")


if __name__ == "__main__":
    unittest.main()

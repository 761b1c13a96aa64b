#!/usr/bin/env python3
"""Makes tests/golden/safetensors_headers.json: headers with the verdicts of the package `safetensors`.

usage: tools/make_safetensors_corpus.py [--out FILE] [--random N] [--seed N]

The headers are the hand-written ones below and random changes of well-formed ones. Each case has the
header (as text, or as base64 if it is not UTF-8), the number of bytes of data that follow, optionally a
length to write before the header, the verdict of the package and, if the package accepts the header, the
tensors as [name, dtype, shape, bytes]. `stricter` marks headers that the package accepts although the
description of the format forbids them; Sculpt's readers refuse them. Needs the package, and writes its
version into the file.
"""
import argparse
import base64
import json
import random
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ENTRY = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
MANY = ('{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},'
        '"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
        '"m":{"dtype":"U8","shape":[3],"data_offsets":[32,35]},'
        '"e":{"dtype":"F64","shape":[0,4],"data_offsets":[35,35]}}')
DTYPES = ("BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0",
          "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64",
          "F64", "I64", "U64", "F128", "f32", "float32", "")
TWICE = "a name appears twice"
LIST = "the entry is not an object"


def entry(dtype='"F32"', shape="[1]", offsets="[0,4]", more=""):
    return f'{{"a":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}}}'


def hand_written():
    """Returns tuples (header, bytes of data, stricter rule or "", length in the file or None)."""
    plain = f'{{"a":{ENTRY}}}'
    yield from ((plain, data, "", None) for data in (0, 3, 4, 5, 8))
    yield from ((plain, 4, "", length) for length in
                (0, 1, len(plain) - 1, len(plain) + 1, len(plain) + 4, len(plain) + 5, 100_000_001,
                 1 << 63, (1 << 64) - 1, (1 << 64) - 8))
    yield from ((text, 0, "", None) for text in (
        "", " ", "{", "}", "{}", "[]", "null", "1", '"a"', "{} ", " {}", "\t{}\n", "\v{}", "{}\0",
        "\0{}", "{}x", "{}{}", "{,}", '{"a"}', '{"a":}', '{"a":1}', '{"a":3}', '{"a":null}',
        '{"a":"F32"}', '{"a":[]}', '{"a":{}}', '{"a":true}', "{'a':1}", "{a:1}", "\ufeff{}",
        "// x\n{}", "{}/**/", '{"__metadata__":{}}', '{"__metadata__":null}',
        '{"__metadata__":[]}', '{"__metadata__":""}', '{"__metadata__":1}',
        '{"__metadata__":{"k":1}}', '{"__metadata__":{"k":null}}', '{"__metadata__":{"k":[]}}',
        '{"__metadata__":{"k":"v"}}', '{"__metadata__":{"k":"v","l":""}}',
        '{"__metadata__":{"":""}}', '{"__metadata__":{"k":"v",}}',
        '{"__metadata__":{"k":"\\u00e9\u00e9\\ud83d\\ude00"}}', '{"__metadata__":{"k":"\\ud83d"}}',
        '{"__metadata__":{"k":"\\ude00\\ud83d"}}', '{"__metadata__":{"k":"\\x41"}}',
        '{"__metadata__":{"k":"a\nb"}}', '{"__metadata__":{"k":"a\\nb"}}',
        '{"__metadata__":{},"__metadata__":{}}', '{"__METADATA__":{}}'))
    yield '{"__metadata__":{"k":"v","k":"w"}}', 0, TWICE, None
    yield b'{"\xff":{}}', 0, "", None
    yield b'{"__metadata__":{"k":"\xc3"}}', 0, "", None
    yield b'{"__metadata__":{"k":"\xed\xa0\x80"}}', 0, "", None
    yield b'{"__metadata__":{"k":"\xc0\x80"}}', 0, "", None
    for name in ("", "a b", "\\u0000", "\\ud800", "\\\"", "a/b", "\u00fc", "\\ud83d\\ude00"):
        yield f'{{"{name}":{ENTRY}}}', 4, "", None
    yield f'{{"a":{ENTRY},"a":{ENTRY}}}', 4, TWICE, None
    yield f'{{"a":{ENTRY},"\\u0061":{ENTRY}}}', 4, TWICE, None
    yield f'{{"a":{ENTRY},"a":{{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}}}', 8, "", None
    yield '{"a":1,"a":' + ENTRY + "}", 4, "", None
    yield '{"a":["F32",[1],[0,4]]}', 4, LIST, None
    yield '{"a":["F32",[1]]}', 4, "", None
    yield entry('{"F32":null}'), 4, LIST, None
    # Every type, with each number of bytes that a shape of 8 elements needs for some width.
    for dtype in DTYPES:
        for count, data in ((8, 4), (8, 6), (8, 8), (8, 16), (8, 32), (8, 64), (3, 2), (1, 1)):
            if data in (4, 6, 2, 1) and not dtype.startswith("F") and dtype not in ("U8", "BOOL"):
                continue
            yield entry(f'"{dtype}"', f"[{count}]", f"[0,{data}]"), data, "", None
    for dtype in ("null", "1", "[]", "{}", '["F32"]', "true"):
        yield entry(dtype), 4, "", None
    for shape in ("[]", "[1,1,1]", "[2]", "[0]", "[-1]", "[-2,-1]", "[-1,-1]", "[1.0]", "[2.7]",
                  "[1e0]", "[-0]", "[01]", "[+1]", "[true]", "[null]", '["1"]', "[[1]]", "1", "null",
                  "{}", '{"0":1}', '"1"', "[1,]", "[,1]", "[1 ]", "[18446744073709551615]",
                  "[18446744073709551616]", "[9223372036854775807]", "[NaN]", "[Infinity]", "[1e999]",
                  "[0x1]", "[4611686018427387904,4]", "[4294967296,4294967296]"):
        yield entry(shape=shape), 4, "", None
    for shape in ("[0]", "[0,4]", "[4,0]", "[0,0]", "[0,9223372036854775807]",
                  "[9223372036854775807,0]", "[4611686018427387904,0]",
                  "[9223372036854775807,4,0]", "[0,9223372036854775807,9223372036854775807]",
                  "[-0]", "[0.0]", "[0,18446744073709551616]", "[18446744073709551615,2,0]"):
        yield entry(shape=shape, offsets="[0,0]"), 0, "", None
    for offsets in ("[0,4]", "[4,0]", "[4,8]", "[0,3]", "[0,5]", "[1,5]", "[-4,0]", "[0,4.0]",
                    "[0.0,4]", "[0]", "[]", "[0,4,8]", "null", '"0,4"', '{"0":0,"1":4}',
                    "[0,18446744073709551615]", "[18446744073709551615,3]",
                    "[18446744073709551612,18446744073709551616]", "[0,null]", "[false,4]", "[-0,4]"):
        for data in (4, 8):
            yield entry(offsets=offsets), data, "", None
    for more in (',"x":1', ',"x":1.5', ',"x":1e999', ',"x":-1e999', ',"x":1e308', ',"x":NaN',
                 ',"x":-Infinity', ',"x":[{"y":[]}]', ',"x":' + "1" * 40, ',"x":' + "1" * 400,
                 ',"x":-0', ',"x":00', ',"x":"\\ud800"', ',"x":nul', ",", ',"x":tru', ',"x":.5',
                 ',"x":5.', ',"x":1e', ',"x":"\t"', ',"dtype":"F32"', ',"shape":[1]',
                 ',"data_offsets":[0,4]', ',"x":' + "[" * 125 + "]" * 125,
                 ',"x":' + "[" * 126 + "]" * 126, ',"x":' + '{"y":' * 125 + "1" + "}" * 125,
                 ',"x":' + '{"y":' * 126 + "1" + "}" * 126, ',"x":' + "[" * 5000,
                 ',"x":"' + "[" * 300 + '"'):
        yield entry(more=more), 4, "", None
    yield entry(more=',"x":1,"x":2'), 4, TWICE, None
    for left in ("dtype", "shape", "data_offsets"):
        fields = json.loads(ENTRY)
        del fields[left]
        yield json.dumps({"a": fields}), 4, "", None
    # Several tensors: their order, gaps, overlaps, and empty tensors in between.
    piece = lambda name, begin, end: (  # noqa: E731
        f'"{name}":{{"dtype":"U8","shape":[{max(0, end - begin)}],"data_offsets":[{begin},{end}]}}')
    for places in (((0, 2), (2, 4)), ((2, 4), (0, 2)), ((0, 2), (1, 3)), ((0, 2), (3, 4)),
                   ((0, 4), (0, 4)), ((0, 4), (4, 4)), ((4, 4), (0, 4)), ((0, 0), (0, 4)),
                   ((0, 4), (0, 0)), ((0, 4), (2, 2)), ((0, 2), (2, 2), (2, 4)), ((0, 4), (5, 5)),
                   ((1, 4), (0, 1)), ((0, 0), (0, 0)), ((0, 4), (3, 4)), ((0, 4), (4, 3))):
        text = ",".join(piece(chr(97 + i), *place) for i, place in enumerate(places))
        for data in (0, 4):
            yield "{" + text + "}", data, "", None
    yield from ((MANY, data, "", None) for data in (34, 35, 36))


FRAGMENTS = ("0", "1", "3", "-1", "2.5", "1e3", "null", "true", "[", "]", "{", "}", ",", ":", '"',
             "\\", " ", "F64", "BF16", "U8", "I64", "18446744073709551616", "a", "__metadata__",
             "dtype", "shape", "data_offsets", "\0", "\u00e9", "[0,0]", "[]", "{}", '""')


def changed(rng, text):
    """Returns `text` with one to three places removed, doubled or replaced by a fragment."""
    for _ in range(rng.randint(1, 3)):
        text = text or "{}"
        place = rng.randrange(len(text))
        end = min(len(text), place + rng.choice((0, 1, 1, 2, 5)))
        middle = rng.choice((text[place:end] * 2, "", rng.choice(FRAGMENTS), rng.choice(FRAGMENTS)))
        text = text[:place] + middle + text[end:]
    return text


def random_header(rng):
    """Returns a header of several tensors, mostly well-formed."""
    offset, items, sizes = 0, [], {"F32": 4, "U8": 1, "I64": 8, "F16": 2, "BOOL": 1, "BF16": 2}
    for index in range(rng.randint(0, 4)):
        dtype = rng.choice(list(sizes))
        shape = [rng.randint(0, 3) for _ in range(rng.randint(0, 3))]
        count = sizes[dtype]
        for size in shape:
            count *= size
        items.append((f"t{index}", {"dtype": dtype, "shape": shape,
                                    "data_offsets": [offset, offset + count]}))
        offset += count
    rng.shuffle(items)
    header = dict(items)
    if rng.random() < 0.3:
        header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header, separators=rng.choice(((",", ":"), (", ", ": "))))
    return text + " " * rng.choice((0, 0, 3)), offset


def random_cases(rng, count):
    for index in range(count):
        text, data = random_header(rng) if index % 4 else (MANY, 35)
        if index % 3:
            text = changed(rng, text)
        yield text, data, why_stricter(text), None


def why_stricter(text):
    """Returns the rule of the format's description that a header breaks but that the package may ignore."""
    found = []

    def watch(pairs):
        if len({key for key, _ in pairs}) < len(pairs):
            found.append(TWICE)
        return dict(pairs)

    try:
        header = json.loads(text, object_pairs_hook=watch)
    except ValueError:
        return ""
    if isinstance(header, dict) and any(isinstance(value, list) or (
            isinstance(value, dict) and isinstance(value.get("dtype"), dict))
            for value in header.values()):
        found.append(LIST)
    return found[0] if found else ""


def content_of(case):
    """Returns the bytes of a case's file."""
    header = (base64.b64decode(case["base64"]) if "base64" in case
              else case["header"].encode("utf-8"))
    length = case.get("length", len(header))
    return struct.pack("<Q", length) + header + bytes(case["data"])


def verdict(content):
    """Returns the verdict of the package: None if it refuses, else the tensors sorted by name."""
    import safetensors
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError:
        return None
    return sorted([name, info["dtype"], list(info["shape"]), len(info["data"])]
                  for name, info in found)


def cases(rng, count):
    seen = set()
    for header, data, stricter, length in (*hand_written(), *random_cases(rng, count)):
        case = {"data": data}
        if isinstance(header, bytes):
            case["base64"] = base64.b64encode(header).decode("ascii")
        else:
            case["header"] = header
        if length is not None:
            case["length"] = length
        key = json.dumps(case)
        if key in seen:
            continue
        seen.add(key)
        tensors = verdict(content_of(case))
        if tensors is not None:
            case["tensors"] = tensors
        if stricter and tensors is not None:
            case["stricter"] = stricter
        yield case


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path,
                        default=ROOT / "tests" / "golden" / "safetensors_headers.json")
    parser.add_argument("--random", type=int, default=300, help="random headers (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    import safetensors
    found = list(cases(random.Random(arguments.seed), arguments.random))
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in found)
    arguments.out.write_text(f'{{"package":"safetensors {safetensors.__version__}","cases":[\n'
                             f"{lines}\n]}}\n")
    accepted = sum("tensors" in case for case in found)
    print(f"{len(found)} headers, of which the package accepts {accepted}")


if __name__ == "__main__":
    main()

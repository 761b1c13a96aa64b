"""Computes which images a run trains on and is measured on, as data/split.cpp chooses them from the seed.

Needs the standard library only. Tests compare both implementations with tests/golden/splits.json.
"""
import math

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
PURPOSE_SPLIT, PURPOSE_SUBSET = 7, 8  # engine/core/random.h
TRAIN_SUBSET, TEST_SUBSET = 0, 1      # data/split.cpp


class SplitError(Exception):
    """A split leaves nothing to train on."""


def philox4x32(key, counter_low, counter_high):
    """Returns four 32-bit words for a 128-bit counter and a 64-bit key, as kernels/common/philox.h does."""
    c0, c1 = counter_low & MASK32, counter_low >> 32
    c2, c3 = counter_high & MASK32, counter_high >> 32
    k0, k1 = key & MASK32, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK32, (p0 >> 32) ^ c3 ^ k1, p0 & MASK32
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c0, c1, c2, c3


class RandomStream:
    """The random numbers of one purpose, as in engine/core/random.h."""

    def __init__(self, seed, purpose, sub=0):
        words = philox4x32(seed, purpose, 0x5343554C5054)
        self.key, self.sub = words[1] << 32 | words[0], sub

    def below(self, index, n):
        """Returns a uniform integer in [0, n)."""
        words = philox4x32(self.key, index, self.sub)
        return (words[1] << 32 | words[0]) * n >> 64


def shuffle(items, stream):
    for i in range(len(items), 1, -1):
        j = stream.below(i - 1, i)
        items[i - 1], items[j] = items[j], items[i - 1]


def limited(indices, limit, stream):
    """Returns `limit` of the indices, chosen at random, in ascending order. Returns all if the limit is 0 or
    too large."""
    if limit == 0 or limit >= len(indices):
        return indices
    chosen = list(indices)
    shuffle(chosen, stream)
    return sorted(chosen[:limit])


def split(train_size, test_size, seed, val_split=0.0, train_limit=0, test_limit=0):
    """Returns the indices {"train", "val", "test"}. "val" holds indices of the training set, and none if
    val_split is 0."""
    train, held = list(range(train_size)), []
    if val_split > 0:
        # Halves are rounded away from zero, as by llround.
        count = max(1, math.floor(val_split * train_size + 0.5))
        if count >= train_size:
            raise SplitError(f"data.val_split = {val_split} holds out all {train_size} training "
                             "images; choose a smaller fraction")
        shuffle(train, RandomStream(seed, PURPOSE_SPLIT))
        held, train = sorted(train[:count]), sorted(train[count:])
    return {"train": limited(train, train_limit, RandomStream(seed, PURPOSE_SUBSET, TRAIN_SUBSET)),
            "val": held,
            "test": limited(list(range(test_size)), test_limit,
                            RandomStream(seed, PURPOSE_SUBSET, TEST_SUBSET))}


def of_config(get, train_size, test_size):
    """Returns the split of a run. `get(key, default)` reads the run's config."""
    return split(train_size, test_size, get("seed", 1), get("data.val_split", 0.0),
                 get("data.train_limit", 0), get("data.test_limit", 0))

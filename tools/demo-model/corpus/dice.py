"""The single source of randomness for the corpus.

Every random decision of the generator goes through `Dice`, which adds up
-ln p of what it drew. The sum over a story is the information content of the
derivation, so its mean over stories is the entropy of the grammar (an upper
bound on the entropy of the text, because two derivations may spell the same
text).
"""

import math
import random


class Dice:
    """A seeded random source that keeps account of the surprise it caused."""

    def __init__(self, seed: int):
        self._rng = random.Random(seed)
        self.nats = 0.0

    def pick(self, options):
        """Draw one of `options`, all equally likely."""
        count = len(options)
        if count == 1:
            return options[0]
        self.nats += math.log(count)
        return options[self._rng.randrange(count)]

    def chance(self, p: float) -> bool:
        """True with probability `p`."""
        if p >= 1.0:
            return True
        hit = self._rng.random() < p
        self.nats -= math.log(p if hit else 1.0 - p)
        return hit

    def weighted(self, options: dict):
        """Draw a key of `options` in proportion to its value."""
        total = sum(options.values())
        point = self._rng.random() * total
        for key, weight in options.items():
            point -= weight
            if point < 0:
                break
        self.nats -= math.log(weight / total)
        return key

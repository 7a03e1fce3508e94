"""How many members fit into a memory: memory grows with them along a line, which is looked at."""

from collections.abc import Callable
from typing import NamedTuple

TRIES = 3
# From here on a line is one.
MANY = 64
# The share of an answer that is given where no compiler has confirmed it.
CAUTION = 0.95


class Capacity(NamedTuple):
    """`count` fit; `sure` where a program for so many has been compiled."""

    count: int
    sure: bool


class Curve:
    """Memory by number of members, as far as it is known.

    Attributes:
        limit: bytes there are.
        bytes: by number; what has been compiled.
        refused: the least number for which the compiler found no room.
    """

    def __init__(self, measure: Callable[[int], int | None], limit: int):
        self._measure, self.limit = measure, limit
        self.bytes: dict[int, int] = {}
        self.refused: int | None = None

    def try_one(self, number: int) -> bool:
        """Whether so many fit."""
        if number not in self.bytes and (self.refused is None or number < self.refused):
            found = self._measure(number)
            if found is None:
                self.refused = number
            else:
                self.bytes[number] = found
        return self.bytes.get(number, self.limit + 1) <= self.limit

    @property
    def most(self) -> int:
        """The largest number that is known to fit."""
        return max((n for n, x in self.bytes.items() if x <= self.limit), default=0)

    def solve(self) -> int:
        """Where the line through the two largest numbers of several members meets the limit."""
        # One member alone is another program: nothing in it has an axis of members.
        (a, low), (b, high) = sorted(x for x in self.bytes.items() if x[0] > 1)[-2:]
        slope = max((high - low) / (b - a), 1.0)
        found = int(b + (self.limit - high) / slope)
        return found if self.refused is None else min(found, int(CAUTION * self.refused))

    @property
    def has_line(self) -> bool:
        """Whether two numbers of several members are known."""
        return sum(n > 1 for n in self.bytes) > 1


def find(curve: Curve, start: int, patient: Callable[[int], bool]) -> Capacity:
    """The largest number that fits, by compiling few programs.

    Args:
        curve: what is known, `start` among it.
        start: a number that fits, to begin with.
        patient: whether there is time to compile for so many, to make sure of an answer.
    """
    # What a few members need in between is kept in registers and caches: no part of the line.
    many = max(start, MANY)
    for number in (many, 4 * many, many // 4, many // 16, 2 * start, start):
        if not curve.has_line and number > 1:
            curve.try_one(number)
    if not curve.has_line:  # little more than `start` fits, if anything
        return Capacity(curve.most, True)
    for _ in range(TRIES):
        found = curve.solve()
        if found <= curve.most:
            return Capacity(curve.most, True)
        if not patient(found):
            break
        if curve.try_one(found):
            return Capacity(found, True)
    return Capacity(max(int(CAUTION * curve.solve()), curve.most), False)

"""Sets of item numbers, small in memory."""

from __future__ import annotations

from collections.abc import Iterator

_BITS = 13
_BYTES = 1 << (_BITS - 3)
_MASK = (1 << _BITS) - 1


class Numbers:
    """A set of numbers with a bit for each: a million of them that follow each other take an eighth of a megabyte.

    It is kept in pieces of 1 KiB, so that one large number does not cost all that are below it.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        piece = self._pieces.get(number >> _BITS)
        bit = number & _MASK
        return piece is not None and bool(piece[bit >> 3] >> (bit & 7) & 1)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers in their order."""
        for piece in sorted(self._pieces):
            for place, bits in enumerate(self._pieces[piece]):
                yield from (piece << _BITS | place << 3 | bit for bit in range(8) if bits >> bit & 1)

    def add(self, number: int) -> None:
        """Add a number; one that is in the set already changes nothing."""
        piece = self._pieces.get(number >> _BITS)
        if piece is None:
            piece = self._pieces[number >> _BITS] = bytearray(_BYTES)
        bit = number & _MASK
        before = piece[bit >> 3]
        after = piece[bit >> 3] = before | 1 << (bit & 7)
        self._count += after != before

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last number of each row of numbers without a gap, in their order."""
        first, end = 0, 0
        for number in self:
            if number != end:
                if end:
                    yield first, end - 1
                first = number
            end = number + 1
        if end:
            yield first, end - 1

    def clear(self) -> None:
        """Take all out."""
        self._pieces.clear()
        self._count = 0

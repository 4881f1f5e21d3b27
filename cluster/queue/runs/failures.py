"""The failed items of a run, grouped by their reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from scripts.one_line import one_line

_MOST_GROUPS = 20
_FIRST_ITEMS = 5
_OTHER = "other reasons"


@dataclass
class Group:
    """Failed items with one reason: how many they are, and the numbers of the first ones."""

    count: int = 0
    items: list[int] = field(default_factory=list)

    def take(self, other: Group) -> None:
        """Add what another group has."""
        self.count += other.count
        self.items = sorted(self.items + other.items)[:_FIRST_ITEMS]


class Failures:
    """Groups of failed items by reason, at most 20 and one for all others, so that memory stays bounded.

    Where there are more reasons, those that differ in figures alone are put together first.
    """

    def __init__(self) -> None:
        self.count = 0
        self._groups: dict[str, Group] = {}
        self._without_figures = False

    def add(self, number: int, reason: str) -> None:
        """Count a failed item."""
        self.count += 1
        self._take(one_line(reason, 200), Group(1, [number]))

    def _take(self, reason: str, group: Group) -> None:
        if self._without_figures:
            reason = re.sub(r"\d[\d.,]*", "N", reason)
        if reason not in self._groups and len(self._groups) >= _MOST_GROUPS:
            if not self._without_figures:
                self._put_together()
                return self._take(reason, group)
            reason = _OTHER
        return self._groups.setdefault(reason, Group()).take(group)

    def _put_together(self) -> None:
        self._without_figures = True
        groups, self._groups = self._groups, {}
        for reason, group in groups.items():
            self._take(reason, group)

    def clear(self) -> None:
        """Forget all."""
        self.__init__()  # type: ignore[misc]

    def lines(self) -> list[str]:
        """Return a line for each reason, the most frequent first: "12 failed: exit 3: items 4, 19, 20, ..."."""
        ordered = sorted(self._groups.items(), key=lambda each: (each[0] == _OTHER, -each[1].count))
        return [_line(reason, group) for reason, group in ordered]


def _line(reason: str, group: Group) -> str:
    items = ", ".join(map(str, group.items)) + (", ..." if group.count > len(group.items) else "")
    return f"{group.count:,} failed: {reason}: item{'s' if group.count > 1 else ''} {items}"

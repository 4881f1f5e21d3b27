from types import SimpleNamespace
from typing import Any

import pytest

from scripts.action.kept_alive import Place


def life(
    answered: int = 0, faulty: bool = True, was_ready: bool = True, bounced: bool = False, lived_s: float = 1
) -> Any:
    return SimpleNamespace(answered=answered, faulty=faulty, was_ready=was_ready, bounced=bounced, lived_s=lived_s)


@pytest.mark.parametrize(
    ("lives", "pauses", "failed_starts"),
    [
        ([life(was_ready=False)] * 3, [0.1, 0.2, 0.4], 3),
        ([life(bounced=True)] * 3, [0.1, 0.2, 0.4], 3),
        ([life()] * 3, [0.1, 0.2, 0.4], 0),
        ([life(was_ready=False), life(answered=1), life(answered=1)], [0.1, 0.1, 0.1], 0),
        ([life(), life(answered=5, faulty=False), life()], [0.1, 0, 0.1], 0),
        ([life(lived_s=100)] * 2, [0.1, 0.1], 0),
    ],
)
def test_a_place_waits_longer_the_more_goes_wrong_in_a_row(lives: Any, pauses: list[float], failed_starts: int) -> None:
    place = Place()
    assert [place.bury(one) for one in lives] == pauses
    assert place.failed_starts == failed_starts

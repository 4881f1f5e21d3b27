from types import SimpleNamespace
from typing import Any

import pytest

from scripts.action.kept_alive import Place


def life(**facts: Any) -> Any:
    usual = {"answered": 0, "faulty": True, "was_ready": True, "left_unread": False, "lived_s": 1}
    return SimpleNamespace(**usual | facts)


@pytest.mark.parametrize(
    ("lives", "pauses", "failed_starts"),
    [
        ([life(was_ready=False)] * 3, [0.1, 0.2, 0.4], 3),
        ([life(left_unread=True)] * 3, [0.1, 0.2, 0.4], 3),
        ([life()] * 3, [0.1, 0.2, 0.4], 0),
        ([life(was_ready=False), life(answered=1), life(answered=1)], [0.1, 0.1, 0.1], 0),
        ([life(), life(answered=5, faulty=False), life()], [0.1, 0, 0.1], 0),
        ([life(lived_s=100)] * 2, [0.1, 0.1], 0),
    ],
)
def test_a_place_waits_longer_the_more_goes_wrong_in_a_row(lives: Any, pauses: list[float], failed_starts: int) -> None:
    loop: Any = None
    place = Place(loop, lambda _place: None)
    assert [place.record_exit(one) for one in lives] == pauses
    assert place.failed_starts == failed_starts

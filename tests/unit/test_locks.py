"""Locks between processes."""

from pathlib import Path

import pytest

from cluster.files import locked
from scripts.errors import ClusterError


def test_a_second_one_is_refused_while_the_first_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.lock"
    with (
        locked(path, "one runs"),
        locked(tmp_path / "other.lock", "another runs"),
        pytest.raises(ClusterError, match="one runs"),
        locked(path, "one runs"),
    ):
        pytest.fail("two at once")
    with locked(path, "one runs"):
        pass

"""An app: its id and definition."""

from typing import Any

import pytest

from cluster.schedulers import App
from scripts.errors import ClusterError


@pytest.mark.parametrize(("definition", "instances"), [({}, 1), ({"instances": None}, 1), ({"instances": 3}, 3)])
def test_how_many_are_wanted(definition: dict[str, Any], instances: int) -> None:
    assert App("/x", definition).instances == instances


@pytest.mark.parametrize("wanted", ["two", "2", 2.5, True, [2]])
def test_no_number_of_instances_is_an_error(wanted: object) -> None:
    with pytest.raises(ClusterError, match=r"^/x: instances is .*: give a whole number$"):
        _ = App("/x", {"instances": wanted}).instances

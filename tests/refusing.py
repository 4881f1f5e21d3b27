"""What is refused: by which error, in one line, and by which name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scripts.errors import ClusterError


def refusal(call: Callable[..., Any], *arguments: Any, by: type[Exception] = ClusterError, **named: Any) -> str:
    """Return the one line with which a call is refused; the error's type is checked, too."""
    with pytest.raises(by) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    return text

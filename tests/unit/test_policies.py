from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest

from scripts.amqp.management import Management
from scripts.amqp.policies import losses

OURS = {"x-overflow": "reject-publish", "x-delivery-limit": 100}


@dataclass(frozen=True)
class Api(Management):
    """An API that knows one queue."""

    found: Any = None

    def _ask(self, method: str, path: str, content: Any = None) -> tuple[int, bytes]:
        return (200, json.dumps(self.found).encode()) if unquote(path) == "/api/queues///q" else (404, b"")


def api(name: str = "q", policy: dict[str, Any] | None = None, **more: Any) -> Api:
    found = {"name": name, "policy": "theirs", "effective_policy_definition": policy or {}, **more}
    return Api("http://nowhere", "u", "p", "/", found=found)


def told(one: Api, work: str = "q", attempts: int = 3) -> list[str]:
    return losses(one, work, ["q"], attempts, 0)


@pytest.mark.parametrize(
    ("policy", "setting"),
    [
        ({"max-length": 1000}, "max-length 1,000 with drop-head"),
        ({"max-length-bytes": 5, "overflow": "drop-head"}, "max-length-bytes 5 with drop-head"),
        ({"message-ttl": 1500}, "message-ttl 1.5 s"),
        ({"expires": 60000}, "expires 60 s"),
    ],
)
def test_a_policy_that_takes_messages_out_is_named_with_its_setting(policy: dict[str, Any], setting: str) -> None:
    (line,) = told(api(policy=policy))
    assert line.startswith("policy 'theirs'")
    assert line.endswith(f"'q' ({setting})")


def test_all_of_a_cause_is_one_line() -> None:
    (line,) = told(api(policy={"max-length": 1, "expires": 1000}, operator_policy="boss"))
    assert line.startswith("policy 'theirs' and operator policy 'boss'")
    assert "max-length 1 with drop-head, expires 1 s" in line


def test_a_queue_that_rejects_what_is_too_much_loses_nothing() -> None:
    assert told(api(policy={"max-length": 1}, arguments=OURS)) == []
    assert told(api(policy={"max-length": 1, "overflow": "reject-publish"})) == []
    # The policy's overflow counts, whatever the argument is (tried on 4.0.5).
    assert len(told(api(policy={"max-length": 1, "overflow": "drop-head"}, arguments=OURS))) == 1


def test_a_limit_of_deliveries_must_leave_all_attempts() -> None:
    limited = api(policy={"delivery-limit": 5}, delivery_limit=5, arguments=OURS)
    assert told(limited, attempts=5) == []
    assert "delivery-limit 5 (below --attempts 6)" in told(limited, attempts=6)[0]
    assert told(api(delivery_limit="unlimited"), attempts=1000) == []
    assert told(api(delivery_limit=20), attempts=21) != []


def test_a_time_to_live_where_messages_only_wait_brings_them_back_sooner() -> None:
    assert told(api(policy={"message-ttl": 1}), work="other") == []


def test_what_the_api_does_not_know_is_not_told() -> None:
    assert told(api(effective_policy_definition=None)) == []
    assert told(Api("http://nowhere", "u", "p", "/", found=["what"])) == []
    assert losses(api(), "q", ["gone"], 3, 0) == []

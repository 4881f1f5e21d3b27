"""Why instances do not come up, in words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.errors import ClusterError
from scripts.marathon.app_reasons import last_failure, reasons, waiting_for
from scripts.marathon.discovery import pick

VERSION = "2026-01-02T00:00:00.000Z"
APP = {"id": "/x", "mem": 64, "cpus": 0.5, "version": VERSION, "versionInfo": {"lastConfigChangeAt": VERSION}}


def after(message: str, **fields: Any) -> str:
    failure = {"host": "agent1", "message": message, "state": "TASK_FAILED", "timestamp": "2026-01-02T00:00:01.000Z"}
    return last_failure(APP | {"lastTaskFailure": failure | {"version": VERSION} | fields})


class TestFailure:
    def test_as_marathon_tells_it(self) -> None:
        assert after("Container exited with status 1") == "failed on agent1: Container exited with status 1"

    def test_without_a_message_its_state(self) -> None:
        assert after("", host=None) == "failed: TASK_FAILED"

    def test_of_an_earlier_version_is_not_told(self) -> None:
        old = "2026-01-01T00:00:00.000Z"
        assert after("Container exited with status 1", version=old, timestamp=old) == ""

    def test_of_an_earlier_versions_instance_after_the_change_is_told(self) -> None:
        assert "status 1" in after("Container exited with status 1", version="2026-01-01T00:00:00.000Z")

    @pytest.mark.parametrize(
        ("words", "remedy"),
        [
            ("Get https://reg:5000/v2/: x509: certificate signed by unknown authority", "agents.trust"),
            ("Get https://reg:5000/v2/x/manifests/1: no basic auth credentials", "has no login"),
            ("manifest for reg:5000/x:1 not found: manifest unknown", "no such image"),
            ("Get https://reg:5000/v2/: dial tcp 10.0.0.1:5000: connect: connection refused", "cannot reach"),
            ("Get https://reg:5000/v2/: http: server gave HTTP response to HTTPS client", "registry.up --host"),
            ("write /var/lib/docker/x: no space left on device", "disk is full"),
        ],
    )
    def test_of_a_pull_says_which_image_and_what_to_do(self, words: str, remedy: str) -> None:
        told = after(
            "Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock pull reg:5000/x:1': "
            f"exited with status 1; stderr='Error response from daemon: {words}'"
        )
        assert told.startswith(f"did not start on agent1: the image reg:5000/x:1 cannot be pulled: {words} (")
        assert remedy in told

    def test_of_a_login_that_is_not_there_says_who_brings_it(self) -> None:
        message = "Failed to launch container: Failed to fetch all URIs for container 'c': exited with status 1"
        failure = {"host": "agent1", "message": message, "timestamp": VERSION, "version": VERSION}
        app = APP | {"fetch": [{"uri": "file:///etc/cluster/docker.tar.gz"}], "lastTaskFailure": failure}
        assert last_failure(app) == (
            f"did not start on agent1: file:///etc/cluster/docker.tar.gz is not there: {message} "
            "(logins: ./inv agents.trust)"
        )

    @pytest.mark.parametrize(
        ("message", "is_sure"),
        [("Container exited with status 137", False), ("Memory limit exceeded: Requested: 64MB", True)],
    )
    def test_that_may_be_for_lack_of_memory_says_how_much_there_was(self, message: str, is_sure: bool) -> None:
        told = after(message)
        assert told.startswith("was killed on agent1, ")
        assert told.endswith(f" 64 MiB: {message}")
        assert ("perhaps" in told) is not is_sure

    def test_with_a_status_that_begins_like_killed_is_none_of_memory(self) -> None:
        assert after("Container exited with status 13") == "failed on agent1: Container exited with status 13"


class TestQueue:
    def entry(self, **fields: Any) -> list[dict[str, Any]]:
        return [
            {"app": {"id": "/other"}},
            {"app": {"id": "/amqp"}, "delay": {"timeLeftSeconds": 0, "overdue": True}} | fields,
        ]

    def test_nothing_is_waited_for(self) -> None:
        assert waiting_for([], "/amqp") == ""
        assert waiting_for([{"app": {"id": "/other"}}, {"pod": {"id": "/amqp"}}], "/amqp") == ""

    def test_backing_off(self) -> None:
        delay = {"timeLeftSeconds": 17, "overdue": False}
        assert "waits 17 s" in waiting_for(self.entry(delay=delay), "/amqp")

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("InsufficientMemory", "not enough memory free, an instance wants 512 MiB"),
            ("InsufficientCpus", "not enough CPU free, an instance wants 0.5 cores"),
            ("InsufficientGpus", "not enough GPUs free"),
            ("UnfulfilledConstraint", "none is as the constraint says (hostname:CLUSTER:agent7)"),
            ("InsufficientPorts", "not enough free ports, or a fixed hostPort is taken"),
            ("SomethingNew", "SomethingNew"),
        ],
    )
    def test_a_refusal_in_words_with_its_numbers(self, reason: str, words: str) -> None:
        app = {"id": "/amqp", "mem": 512, "cpus": 0.5, "constraints": [["hostname", "CLUSTER", "agent7"]]}
        offers = {"rejectSummaryLastOffers": [{"reason": reason, "declined": 3, "processed": 4}]}
        told = waiting_for(self.entry(app=app, processedOffersSummary=offers), "/amqp")
        assert told == f"no agent fits: {words} (3 of 4 offers refused)"

    def test_the_reason_of_most_refusals(self) -> None:
        offers = {
            "processedOffersCount": 123,
            "rejectSummaryLastOffers": [
                {"reason": "UnfulfilledConstraint", "declined": 2, "processed": 123},
                {"reason": "InsufficientMemory", "declined": 75, "processed": 121},
                {"reason": "InsufficientPorts", "declined": 0, "processed": 46},
            ],
        }
        words = waiting_for(self.entry(processedOffersSummary=offers), "/amqp")
        assert words == "no agent fits: not enough memory free (75 of 121 offers refused)"

    def test_no_agent_at_all(self) -> None:
        offers = {"processedOffersCount": 0, "rejectSummaryLastOffers": []}
        assert "no agent" in waiting_for(self.entry(processedOffersSummary=offers), "/amqp")

    @pytest.mark.parametrize("fields", [{}, {"processedOffersSummary": None}, {"delay": None}], ids=str)
    def test_old_answers_have_no_summary(self, fields: dict[str, Any]) -> None:
        assert "waits for an offer" in waiting_for(self.entry(**fields), "/amqp")


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.just(10**400), st.text(max_size=3),
    st.lists(st.none() | st.integers() | st.lists(st.integers(), max_size=2), max_size=2), st.just({"a": 1}),
)  # fmt: skip


def some(**fields: Any) -> Any:
    """An object with some of these fields, or something else in its place."""
    known = {name: ODD if value is None else ODD | value for name, value in fields.items()}
    return ODD | st.fixed_dictionaries({}, optional=known)


def listed(value: Any) -> Any:
    return ODD | st.lists(value, max_size=2)


REASON = st.sampled_from(["InsufficientMemory", "UnfulfilledConstraint", "InsufficientPorts"])
OFFERS = listed(some(reason=REASON, declined=None, processed=None))
CHECKS = listed(some(alive=None, lastFailureCause=None))
TASKS = listed(
    some(
        id=None, host=None, ports=None, state=st.just("TASK_RUNNING"), startedAt=st.just(VERSION), version=None,
        healthCheckResults=CHECKS, ipAddresses=None,
    )
)  # fmt: skip
FAILURE = some(
    message=st.sampled_from(["exit code 137", "docker pull a: stderr='b'", "failed to fetch"]), host=None,
    version=st.just(VERSION), timestamp=None, state=None,
)  # fmt: skip
FIELDS = {
    "mem": ODD, "cpus": ODD, "instances": ODD, "constraints": ODD, "fetch": ODD, "tasks": TASKS, "tasksStaged": ODD,
    "healthChecks": ODD, "lastTaskFailure": FAILURE, "versionInfo": some(lastConfigChangeAt=None), "networks": ODD,
    "portDefinitions": ODD, "ports": ODD, "container": ODD, "ipAddress": ODD,
}  # fmt: skip
APPS = st.fixed_dictionaries({"id": st.just("/x"), "version": ODD | st.just(VERSION)}, optional=FIELDS)
ENTRIES = st.fixed_dictionaries(
    {"app": APPS},
    optional={
        "delay": some(overdue=None, timeLeftSeconds=None),
        "processedOffersSummary": some(processedOffersCount=None, rejectSummaryLastOffers=OFFERS),
    },
)


@given(APPS, st.lists(ENTRIES, max_size=2))
def test_whatever_marathon_answers_is_read_as_what_it_may_be(app: dict[str, Any], queue: list[dict[str, Any]]) -> None:
    """A worker that runs asks this, and must not die of it."""
    assert all(isinstance(reason, str) for reason in reasons(app, queue, last_failure(app)))
    with suppress(ClusterError):
        pick(app)

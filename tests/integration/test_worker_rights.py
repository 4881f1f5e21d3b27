"""A broker's user who may not do all that a worker needs, and queues that are none for a worker."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from scripts.amqp.queues import failed_queue, queue_arguments
from tests.integration.worker_rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.broker

ALL = {"configure": ".*", "write": ".*", "read": ".*"}


class User:
    """A user of the broker with rights of its own."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self.name = rig, f"user-{rig.queue}"
        rig.api("PUT", f"users/{self.name}", {"password": "p", "tags": ""})
        self.url = rig.url.replace("//", f"//{self.name}:p@")

    def may(self, **rights: str) -> None:
        self._rig.api("PUT", f"permissions/%2F/{self.name}", ALL | rights)

    def remove(self) -> None:
        self._rig.api("DELETE", f"users/{self.name}")


@pytest.fixture
def user(rig: Rig) -> Iterator[User]:
    one = User(rig)
    yield one
    one.remove()


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ({"configure": "^$"}, "configure access to queue 'QUEUE.retry.1s'"),
        ({"write": "^$"}, "write access to exchange 'amq.default'"),
        ({"read": "^$"}, "read access to queue 'QUEUE'"),
    ],
)
def test_a_missing_right_is_named_before_a_message_is_taken(
    rig: Rig, user: User, missing: dict[str, str], what: str
) -> None:
    """And with the rights of the command that it names the worker does all, without being started again."""
    arguments = queue_arguments(rig.queue, rig.server)
    for queue in (rig.queue, failed_queue(rig.queue)):
        with rig.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments=arguments[queue])
    if "configure" not in missing:
        rig.worker("cat").stop()
    rig.publish(b"x")
    user.may(**missing)
    worker = rig.worker("--attempts", "2", rig.action("exit 1"), url=user.url, consuming=False)
    worker.says(what.replace("QUEUE", rig.queue))
    assert "used as it is" not in worker.log
    assert rig.ready() == 1
    command = re.search(rf"rabbitmqctl set_permissions -p / {user.name} '(\S+)' '(\S+)' '(\S+)'", worker.log)
    assert command, worker.log
    user.may(**dict(zip(("configure", "write", "read"), command.groups(), strict=True)))
    rig.take_failed()
    assert worker.stop() == 0


def test_a_right_that_is_taken_away_later_costs_no_message_and_no_storm(rig: Rig, user: User) -> None:
    user.may()
    worker = rig.worker("--attempts", "1", rig.action("exit 1"), url=user.url)
    user.may(write="^$")
    rig.publish(b"x")
    worker.says("write access to exchange 'amq.default'")
    user.may()
    rig.take_failed()
    until(lambda: rig.ready() == 0, "nothing is left")
    assert worker.log.count("ACCESS_REFUSED") == 1
    assert worker.stop() == 0


def test_a_stream_is_refused_by_name(rig: Rig) -> None:
    with rig.channel() as channel:
        channel.queue_declare(rig.queue, durable=True, arguments={"x-queue-type": "stream"})
    worker = rig.worker("--until-empty", "cat", consuming=False)
    assert worker.exit_code() == 1
    assert f"'{rig.queue}' is a stream" in worker.log

"""The workers of a run, on a real broker: started, used as they are, replaced, refused, and seen to end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.apps.component_apps import Work
from cluster.components import WORKER
from cluster.images import sources
from cluster.operations.deploy import Rollout, deploy_workers
from cluster.operations.wanted_workers import Wanted
from cluster.operations.workforce import Workforce, resting_words, said_by_workers, workers_ready
from cluster.schedulers import Scheduler
from cluster.settings import Settings
from scripts.action.cgroup import cores
from scripts.amqp.queues import results_queue
from scripts.worker.headers import RUN
from tests.conftest import Broker, engine_of
from tests.integration.worker_rig import Rig
from tests.refusing import refusal
from tests.waiting import until

pytestmark = pytest.mark.broker

Ready = Callable[..., Workforce]


@pytest.fixture
def settings(broker: Broker) -> Settings:
    """The queue is there; workers are plain processes."""
    return replace(broker.settings, scheduler="process")


@pytest.fixture
def engine(settings: Settings, rig: Rig) -> Iterator[Scheduler]:
    engine = engine_of(settings)
    yield engine
    engine.stop(f"/worker-{rig.queue}", now=True)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def ready(settings: Settings, engine: Scheduler, rig: Rig, said: list[str]) -> Ready:
    def make(action: str = "cat", url: str = "", marathon: str = "", **asked: Any) -> Workforce:
        wanted = Wanted(rig.queue, action, **asked)
        return workers_ready(settings, wanted, at="", marathon=marathon, url=url, say=said.append)

    return make


def names(engine: Scheduler) -> list[str]:
    return [one.name for app in engine.status() if "/worker-" in app.id for one in app.instances]


def test_workers_are_started_and_used_as_they_are(ready: Ready, rig: Rig, engine: Scheduler, said: list[str]) -> None:
    first = ready(attempts=5)
    assert (first.url, first.slots, first.trouble(), len(said)) == (rig.url, cores(), "", 1)
    again = ready()
    assert (again.slots, len(said), len(names(engine))) == (cores(), 1, 1)
    more = ready(workers=2)
    assert (more.slots, len(said), len(names(engine))) == (2 * cores(), 2, 2)
    rig.publish(b"x")
    until(lambda: rig.ready() == 0, "a worker takes it")


def test_a_workers_end_is_trouble_until_this_is_called_again(ready: Ready, rig: Rig, engine: Scheduler) -> None:
    force = ready()
    engine.stop(f"/worker-{rig.queue}", now=True)
    assert repr(rig.queue) in force.trouble()
    assert ready().trouble() == ""


def test_idle_workers_with_another_action_are_replaced(ready: Ready, engine: Scheduler, said: list[str]) -> None:
    ready("cat")
    ready("cat -n", jobs=3)
    assert len(names(engine)) == 1
    assert (ready("cat -n").slots, len(said)) == (3, 3)


def test_busy_workers_are_not_replaced(ready: Ready, rig: Rig, said: list[str]) -> None:
    ready("sleep 1000", jobs=1)
    rig.publish(b"in hand", b"waits")
    until(lambda: rig.ready() == 1, "one is in hand")
    assert "'sleep 1000'" in refusal(ready, "cat")
    ready("sleep 1000")
    assert len(said) == 1


def test_workers_whose_results_wait_are_not_replaced(ready: Ready, rig: Rig) -> None:
    ready("cat")
    run = secrets.token_hex(4)
    results = results_queue(rig.queue, run)
    rig.declare(results)
    rig.publish(b"x", queue=results)
    assert f"map.cancel --run {run}" in refusal(ready, "cat -n")
    with rig.channel() as channel:
        channel.queue_delete(results)
    ready("cat -n")


def test_the_usual_action_is_not_for_a_run(settings: Settings, engine: Scheduler, rig: Rig) -> None:
    results = results_queue(rig.queue, run := secrets.token_hex(4))
    rig.declare(results)
    until(lambda: results in {one.name for one in settings.queue.management.queues()}, "the queue is known")
    rollout = Rollout(engine, print)
    assert run in refusal(deploy_workers, settings, rollout, Work.of(settings, queue=rig.queue))
    deploy_workers(settings, rollout, Work.of(settings, queue=rig.queue, action="cat"))


@pytest.mark.parametrize("of_a_run", [False, True], ids=["of others", "of a run that is over"])
def test_only_what_somebody_waits_for_keeps_workers(ready: Ready, rig: Rig, said: list[str], of_a_run: bool) -> None:
    ready("false", options="--breaker 1 --backoff 64")
    headers = {RUN: secrets.token_hex(4)} if of_a_run else {}
    rig.publish(b"x")
    until(lambda: rig.ready(f"{rig.queue}.retry.64s"), "the worker rests")
    rig.publish(b"x", b"x", headers=headers)
    if of_a_run:
        rig.take(f"{rig.queue}.retry.64s")
        ready("cat -n")
        assert rig.ready() == 0
    else:
        assert "3 messages" in refusal(ready, "cat -n")


def test_workers_that_rest_are_started_anew(ready: Ready, rig: Rig, said: list[str]) -> None:
    action = rig.action("exit 1")
    ready(action)
    rig.publish(*[b"x"] * 30)
    until(lambda: resting_words(said_by_workers(rig.url, rig.queue, 1)), "it rests")
    rig.action("cat")
    ready(action)
    until(lambda: rig.ready() == 0, "all are taken", timeout_s=4)
    assert "exit 1" in said[-1]


def test_an_action_that_cannot_be_started_leaves_nothing(ready: Ready, rig: Rig, engine: Scheduler) -> None:
    plain = rig.tmp / "plain.sh"
    plain.write_text("#!/bin/sh\n")
    for action in ("nosuch.r", str(plain), rig.action("", "odd", interpreter="/no/such/interpreter")):
        assert action in refusal(ready, action)
    assert names(engine) == []


def test_an_action_of_the_present_folder_is_found(ready: Ready, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.action("cat > out.$$; mv out.$$ $0.out", "mine.sh")
    monkeypatch.chdir(rig.tmp)
    ready("mine.sh")
    rig.publish(b"item")
    out = rig.tmp / "mine.sh.out"
    until(out.exists, "it has run")
    assert out.read_bytes() == b"item"


def test_workers_of_another_broker_are_looked_for_alone(ready: Ready, rig: Rig, engine: Scheduler) -> None:
    assert repr(rig.queue) in refusal(ready, url=rig.url)
    worker = rig.worker("cat")
    force = ready(url=rig.url)
    assert (force.url, force.slots, force.trouble()) == (rig.url, 0, "")
    worker.stop()
    assert repr(rig.queue) in until(force.trouble, "it is known that nobody is left")
    assert names(engine) == []


@pytest.mark.engine
def test_an_image_with_other_actions_is_built_anew(
    broker: Broker, rig: Rig, said: list[str], docker_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = broker.settings
    image = f"{settings.registry}/worker:{rig.queue}"
    settings = replace(settings, worker=replace(settings.worker, tag=f"worker:{rig.queue}", tmp=str(tmp_path)))
    engine, wanted = engine_of(settings), Wanted(rig.queue, "cat")

    def ready() -> Workforce:
        return workers_ready(settings, wanted, at="", marathon="", url="", say=said.append)

    def label() -> str:
        return str(docker_client.images.get(image).labels[sources.LABEL])

    try:
        ready()
        (before,) = names(engine)
        assert label() == sources.digest(WORKER)
        said.clear()
        ready()
        assert said == []
        monkeypatch.setattr(sources, "digest", lambda component: "0" * 64)
        ready()
        assert (label(), names(engine)) == ("0" * 64, [before])
        assert engine_image(docker_client, before) == docker_client.images.get(image).id
    finally:
        engine.stop(f"/worker-{rig.queue}", now=True)
        docker_client.images.remove(image, force=True)


def engine_image(client: Any, container: str) -> str:
    return str(client.containers.get(container).attrs["Image"])

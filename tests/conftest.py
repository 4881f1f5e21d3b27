"""Services for tests: real ones, on free ports and under names of their own, beside whatever the user runs.

Missing on a laptop, a service skips the tests that need it, with the reason; in CI (environment variable CI) they fail.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
import yaml
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from cluster import credentials, engine
from cluster.apps.app import Image
from cluster.apps.component_apps import queue_app
from cluster.components import QUEUE
from cluster.images import base_image
from cluster.images import build as image_build
from cluster.operations import selftest
from cluster.schedulers import DeployOptions, Scheduler, selection
from cluster.settings import ROOT, Settings
from scripts.amqp.broker import open_blocking
from scripts.errors import ClusterError
from tests.hosts.cluster import Hosts, running_hosts
from tests.ports import free_ports
from tests.slurm.cluster import SlurmCluster, running_slurm

# A busy machine may take its time for any example; and the same examples come in each run.
ANY_MACHINE = "any machine"
hypothesis_settings.register_profile(
    ANY_MACHINE, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(ANY_MACHINE)


def pytest_configure() -> None:
    """A script's background job ignores Ctrl-C, and so would all that it starts; tests send it to what they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The soak's length and dice."""
    parser.addoption("--soak", type=int, default=10, help="how many seconds the soak breaks things (default: 10)")
    parser.addoption("--seed", type=int, default=0, help="the seed of an earlier soak (default: a new one)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module, or machines, stay in one process when `inv test` runs several."""
    for item in items:
        if machines := {"hosts", "slurm"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(min(machines)))
            continue
        fixtures = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
        if any(fixture.scope == "module" and fixture.baseid for each in fixtures for fixture in each):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """See that the programs which a test is marked with are here."""
    for mark in item.iter_markers("program"):
        if not shutil.which(mark.args[0]):
            missing(f"{mark.args[0]} is not installed")


def missing(reason: str) -> NoReturn:
    """A service that a test needs is not here."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def defaults() -> dict[str, Any]:
    """Return the content of invoke.yaml."""
    return yaml.safe_load((ROOT / "invoke.yaml").read_text())


SETTINGS = Settings.read(defaults())


def own_settings(tmp: Path, scheduler: str = "local") -> Settings:
    """Settings under which nothing of the user's is touched."""
    amqp, management, prometheus, registry = free_ports(4)
    return replace(
        SETTINGS,
        project=f"test-{secrets.token_hex(4)}",
        scheduler=scheduler,
        registry=f"localhost:{registry}",
        queue=replace(SETTINGS.queue, port=amqp, management_port=management, prometheus_port=prometheus),
        worker=replace(SETTINGS.worker, tmp=str(tmp)),
    )


def engine_of(settings: Settings) -> Scheduler:
    """The engine of this machine that settings name."""
    return selection.connect(settings, selection.chosen_to_run_local(settings), print)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Broker:
    """A real RabbitMQ of the tests' own, in a container where an engine runs, else as a process."""

    def __init__(self, settings: Settings, scheduler: Scheduler, image: str) -> None:
        self.settings, self.scheduler = settings, scheduler
        self.app = queue_app(settings, scheduler, Image(image, "test"))
        self.url = settings.queue.url
        self.management = settings.queue.management_url

    def start(self) -> None:
        """Run it and return when it answers."""
        self.scheduler.apply(self.scheduler.plan(self.app), DeployOptions(timeout_s=120))
        open_blocking(self.url).close()

    def kill(self) -> None:
        """End it without warning, as a power cut would; its data stays."""
        self.scheduler.stop(self.app.id, now=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it for a while: connections stay open and nothing answers."""
        if self.scheduler.name == "local":
            with closing(engine.connect()) as client:
                container = client.containers.get(f"{self.settings.project}-amqp-1")
                container.pause()
                yield
                container.unpause()
        else:
            frozen = [one for one in psutil.process_iter() if self.settings.project in " ".join(_words(one))]
            for one in frozen:
                one.suspend()
            yield
            for one in frozen:
                one.resume()

    def alarm(self, on: bool) -> None:
        """Let it believe that its memory is short, or no more; in a container alone."""
        if self.scheduler.name != "local":
            missing("the broker does not run in a container")
        with closing(engine.connect()) as client:
            mark = ["rabbitmqctl", "set_vm_memory_high_watermark", "0.000001" if on else "0.6"]
            code, output = client.containers.get(f"{self.settings.project}-amqp-1").exec_run(mark)
        assert code == 0, output

    def remove(self) -> None:
        """End it and delete its data."""
        self.scheduler.stop(self.app.id, now=True)
        self.scheduler.delete_data(self.app.id)


@pytest.fixture
def secrets_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for secrets of the test's own, and no logins of docker's."""
    folder = tmp_path / ".secrets"
    monkeypatch.setattr(credentials, "SECRETS", folder)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return folder


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    try:
        client = engine.connect()
    except ClusterError as error:
        missing(str(error))
    yield client
    client.close()


@pytest.fixture(scope="session")
def queue_image(docker_client: Any) -> str:
    base_image.ensure_base(docker_client, print)
    ref = selftest.image(QUEUE)
    image_build.build(docker_client, QUEUE, ref, print)
    return str(ref)


@pytest.fixture(scope="session")
def hosts(docker_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts with sshd and an engine each, which all tests share; each starts when a test first asks for it."""
    with running_hosts(docker_client, tmp_path_factory.mktemp("hosts"), missing) as hosts:
        yield hosts


@pytest.fixture(scope="session")
def slurm(docker_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A Slurm cluster, which all tests share."""
    with running_slurm(docker_client, tmp_path_factory.mktemp("slurm"), missing) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def make_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes brokers, each with a project and ports of its own."""

    def make() -> Broker:
        tmp = tmp_path_factory.mktemp("broker")
        try:
            engine.connect().close()
        except ClusterError:
            settings = own_settings(tmp, "process")
            return Broker(settings, engine_of(settings), "none")
        settings = own_settings(tmp)
        return Broker(settings, engine_of(settings), request.getfixturevalue("queue_image"))

    return make


def running(one: Broker) -> Iterator[Broker]:
    """Start it, and remove it in the end."""
    try:
        one.start()
    except ClusterError as error:
        missing(str(error))
    yield one
    one.remove()


@pytest.fixture(scope="session")
def broker(make_broker: Any) -> Iterator[Broker]:
    """A broker that all tests share: do not end it, use queues of your own."""
    yield from running(make_broker())


@pytest.fixture
def own_broker(make_broker: Any) -> Iterator[Broker]:
    """A broker that this test alone may kill and start again."""
    yield from running(make_broker())


@pytest.fixture
def queue_name() -> str:
    """A queue's name that no other test has."""
    return f"test-{secrets.token_hex(4)}"

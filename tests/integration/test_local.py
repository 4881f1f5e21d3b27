"""What the scheduler `local` alone does: containers, images, volumes and ports of a real engine."""

import json
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.apps.app import AppSpec, HealthCheck, Port, Volume
from cluster.apps.flags import AppOverrides
from cluster.images import base_image
from cluster.operations.operate import undone_on_failure
from cluster.schedulers.docker import containers
from cluster.schedulers.docker.body import SOURCE, Task, container_body
from cluster.schedulers.docker.scheduler import Local
from cluster.settings import Settings
from scripts.errors import ClusterError
from tests.conftest import own_settings
from tests.deploying import deploy, restart, scale
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.engine

IMAGE = base_image.NAME


@pytest.fixture
def client(docker_client: Any) -> Any:
    base_image.ensure_base(docker_client, print)
    return docker_client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return own_settings(tmp_path)


@pytest.fixture
def project(settings: Settings) -> str:
    return settings.project


@pytest.fixture
def where(client: Any, settings: Settings) -> Iterator[Local]:
    scheduler = Local(settings, client, print)
    yield scheduler
    scheduler.stop("/app", now=True)
    scheduler.delete_data("")


def app(command: str = "exec sleep 1000", image: str = IMAGE, **fields: Any) -> AppSpec:
    spec = AppSpec("/app", command=command, image=image, cpus=0.1, mem_mib=32, container_options=(("init", "true"),))
    return replace(spec, **fields)


def with_port(host_port: int, protocol: str = "tcp") -> dict[str, Any]:
    """A server on a port of the container, published."""
    return {"on_host_network": False, "ports": (Port("web", 80, host_port, protocol),)}


SERVER = (
    "exec perl -MIO::Socket -e "
    "'$s = IO::Socket::INET->new(LocalPort => 80, Listen => 5); print {$s->accept} \"hi\" while 1'"
)


def test_flags_reach_a_container(where, client, tmp_path):
    flags = AppOverrides.of(
        cpus=0.5, mem_mib=48, env=["WORD=as given"], volumes=[f"{tmp_path}:/in:ro", f"{tmp_path}:/out"]
    )
    deploy(where, flags.applied_to(app('echo "$WORD" >/out/seen; touch /in/never; exec sleep 1000')))
    until(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text() == "as given\n")
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]
    limits = client.containers.get(f"{where._project}-app-1").attrs["HostConfig"]
    assert (limits["CpuShares"], limits["Memory"]) == (512, 48 * 2**20)


@pytest.mark.parametrize("fixed", [False, True])
def test_a_published_port_is_reached_on_this_machine_only(where, client, fixed):
    port = free_port() if fixed else 0
    status = deploy(where, app(SERVER, **with_port(port)))
    address = where.address_of("/app", "web")
    assert address.port == port or not fixed
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        assert connection.recv(2) == b"hi"
    bindings = client.containers.get(status.instances[0].name).ports["80/tcp"]
    assert bindings == [{"HostIp": "127.0.0.1", "HostPort": str(address.port)}]


def test_a_port_that_another_container_publishes_is_named(where, client, settings):
    other = Local(replace(settings, project=f"{settings.project}-other"), client, print)
    try:
        status = deploy(other, app(SERVER, **with_port(0)))
        port = other.address_of("/app").port
        with pytest.raises(ClusterError, match=rf"{port} .*{status.instances[0].name}"):
            deploy(where, app(SERVER, **with_port(port)))
        assert where.status() == []
    finally:
        other.stop("/app", now=True)


@pytest.mark.parametrize("labels", [{}, {"cluster.project": "someone-else", "cluster.app": "/app"}])
def test_a_container_of_someone_else_is_named_and_left_alone(where, client, project, labels):
    foreign = client.containers.create(IMAGE, "true", name=f"{project}-app-1", labels=labels)
    try:
        with pytest.raises(ClusterError, match=rf"container {project}-app-1 "):
            deploy(where, app())
        assert where.status() == []
        assert where.stop("/app", now=True) is False
        assert client.containers.get(f"{project}-app-1").id == foreign.id
    finally:
        foreign.remove()


def test_a_volume_of_someone_else_is_named_and_left_alone(where, client, project):
    volumes = (Volume("/var/lib/cluster/app", "/data"),)
    foreign = client.volumes.create(f"{project}-app")
    try:
        with pytest.raises(ClusterError, match=rf"volume {project}-app "):
            deploy(where, app(volumes=volumes))
        assert where.delete_data("") == []
    finally:
        foreign.remove()


def test_a_name_that_means_another_image_or_none_counts_at_the_next_deploy(where, client, project):
    first, second = (client.containers.create(IMAGE, label) for label in ("1", "2"))
    name = f"{project}:v1"
    try:
        first.commit(project, "v1", changes="LABEL which=first")
        deploy(where, app(image=name))
        assert where.plan(app(image=name)).kind == "nothing"
        second.commit(project, "v1", changes="LABEL which=second")
        assert where.plan(app(image=name)).kind == "replace"
        scale(where, "/app", 2)
        client.images.remove(name, force=True)
        assert scale(where, "/app", 3).running == 3
        restart(where, "/app")
        running = [client.containers.get(one.name) for one in where.status()[0].instances]
        assert [one.image.labels["which"] for one in running] == ["first"] * 3
        second.commit(project, "v1", changes="LABEL which=second")
        container = deploy(where, app(image=name)).instances[0].name
        assert client.containers.get(container).image.labels["which"] == "second"
    finally:
        where.stop("/app", now=True)
        for container in (first, second):
            container.remove()
        for image in client.images.list(filters={"label": ["which"]}):
            client.images.remove(image.id, force=True)


def test_an_image_that_is_nowhere_is_an_error_that_says_what_to_do(where, project):
    with pytest.raises(ClusterError, match=r"localhost:1/x:v1 "):
        deploy(where, app(image="localhost:1/x:v1"))
    assert where.status() == []


def test_too_little_memory_is_named(where):
    hungry = "exec perl -e '@a = (1) x 1e9'"
    with pytest.raises(ClusterError, match=r"killed.* 32 MiB"):
        deploy(where, app(hungry))


def test_what_somebody_killed_is_not_said_to_have_used_too_much_memory(where, client, project):
    deploy(where, app())
    client.containers.get(f"{project}-app-1").kill()
    (one,) = until(lambda: [one for one in where.status()[0].instances if one.state == "stopped"], "it has ended")
    assert one.detail == "was killed (exit code 137)"


def test_a_container_that_the_engine_cannot_start_is_removed_again(where):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=f"^deploy /app: .*port {port} .*in use"):
            deploy(where, app(**with_port(port, "udp")))
    assert where.status() == []


PRINTS_UP = "echo up; echo $$ >/tmp/pid; exec sleep 1000"
END_IT = ["/bin/sh", "-c", "kill $(cat /tmp/pid)"]


def test_logs_are_followed_over_a_new_start(where, client, project):
    deploy(where, app(PRINTS_UP))
    lines = where.logs("/app", follow=True)
    assert next(lines).endswith(": up")
    client.containers.get(f"{project}-app-1").exec_run(END_IT)
    assert next(lines).endswith(": up")
    lines.close()


class LateReader:
    """A container whose streams are seen to end only when the program has started again and printed more."""

    def __init__(self, container: Any) -> None:
        self.container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def logs(self, **which: Any) -> "LateStream":
        return LateStream(self.container, self.container.logs(**which))


class LateStream:
    def __init__(self, container: Any, stream: Any) -> None:
        self.container, self.close = container, stream.close
        self.chunks = iter(stream)

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks
        until(lambda: self.container.logs().count(b"up") == 2, "its next start")


def test_what_a_new_start_prints_at_once_is_followed_too(where, client, project):
    deploy(where, app(PRINTS_UP))
    container = client.containers.get(f"{project}-app-1")
    lines = containers.follow({container.name: LateReader(container)}, tail=100)
    assert next(lines) == f"{project}-app-1: up"
    container.exec_run(END_IT)
    assert next(lines) == f"{project}-app-1: up"
    lines.close()


def test_the_health_check_runs_in_the_container_by_docker_too(where, client, project):
    deploy(where, app(health=HealthCheck("test $MARATHON_APP_ID = /app", interval_s=0.5)))
    container = client.containers.get(f"{project}-app-1")
    until(lambda: container.reload() or container.health == "healthy", "it is healthy")
    assert container.attrs["State"]["Health"]["Log"][-1]["ExitCode"] == 0


def test_what_was_paused_works_again_at_once(where, client, project):
    deploy(where, app(health=HealthCheck("true")))
    container = client.containers.get(f"{project}-app-1")
    container.pause()
    assert [(one.state, one.detail) for one in where.status()[0].instances] == [("stopped", "paused")]
    container.unpause()
    assert where.status()[0].running == 1


def test_docker_starts_it_again_after_it_has_worked_and_limits_its_logs(where, client, project):
    deploy(where, app())
    config = client.containers.get(f"{project}-app-1").attrs["HostConfig"]
    assert config["RestartPolicy"]["Name"] == "always"
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
    assert config["Memory"] == 32 * 1024**2


def test_what_ran_when_the_engine_crashed_runs_again(hosts, settings):
    agent = hosts.agent
    agent.make_image("small")
    with agent.engine() as engine:
        busy = AppSpec("/app", "trap '' TERM; while :; do sleep 0.1; done", "small", mem_mib=32, kill_grace_s=1)
        name = deploy(Local(settings, engine, print), busy).instances[0].name
        before = engine.containers.get(name).attrs["State"]["StartedAt"]
        agent.run(
            "kill -KILL $(cat /run/docker.pid); while kill -0 $(cat /run/docker.pid) 2>/dev/null; do sleep 0.1; done"
        )
        agent.start_engine()

        def runs_again() -> bool:
            state = engine.containers.get(name).attrs["State"]
            return state["StartedAt"] != before and state["Running"]

        until(runs_again, "it runs again")
    agent.clear()


def test_a_failed_replacement_is_undone_with_the_very_image_of_before(where, client):
    tag = f"test-{secrets.token_hex(4)}:1"
    client.images.get(IMAGE).tag(tag)
    try:
        deploy(where, app(image=tag, instances=2))
        container = client.containers.get(where.status()[0].instances[0].name)
        container.commit(*tag.split(":"))  # the name means another image now
        before = where.present("/app")
        with (
            pytest.raises(ClusterError, match=r"(?s)exit code 3.*rolled back: 2 of 2 instances"),
            undone_on_failure(where, "/app", before, print),
        ):
            deploy(where, app("sleep 0.5; exit 3", image=tag))
        images = [client.containers.get(one.name).attrs["Image"] for one in where.status()[0].instances]
        assert images == [client.images.get(IMAGE).id] * 2
        assert where.status()[0].running == 2
    finally:
        where.stop("/app", now=True)
        client.images.remove(tag, force=True)


def test_what_another_deploy_made_meanwhile_is_not_undone(where, client, project, monkeypatch):
    deploy(where, app())
    before, end, there = where.present("/app"), where._end, Task(app("exec sleep 2000"), project, 1)

    def end_and_be_too_late(found, **how):
        end(found, **how)
        if found:
            monkeypatch.undo()
            client.api.create_container_from_config(container_body(there), there.name)

    monkeypatch.setattr(where, "_end", end_and_be_too_late)
    with (
        pytest.raises(ClusterError, match="by someone else: is another deploy under way"),
        undone_on_failure(where, "/app", before, print),
    ):
        deploy(where, app("exec sleep 3000"))
    assert where.present("/app").command == "exec sleep 2000"


def test_a_trial_runs_beside_the_app_and_leaves_nothing(where, client, project):
    deploy(where, app())
    before = where.status()
    assert where.run_once(app('test -n "$MARATHON_APP_ID" || exit 9; exit 7'))[0] == 7
    assert where.run_once(app("exec true"))[0] == 0
    assert where.status() == before
    assert len(client.containers.list(all=True, filters={"label": f"cluster.project={project}"})) == 1


def test_what_an_interrupted_trial_has_left_is_in_nobodys_way(where, client, project):
    deploy(where, app())
    left = Task(app(), project, 0)
    client.api.create_container_from_config(container_body(left), left.name)
    assert where.plan(app()).kind == "nothing"
    assert [one.name for one in where.status()[0].instances] == [f"{project}-app-1"]
    assert where.run_once(app("exit 7"))[0] == 7
    client.api.create_container_from_config(container_body(left), left.name)
    deploy(where, app())
    assert len(client.containers.list(all=True, filters={"label": f"cluster.project={project}"})) == 1


def test_two_may_stop_it_in_the_moment_in_which_it_ends(where, client, project):
    deploy(where, app())
    container = client.containers.get(f"{project}-app-1")
    container.kill("TERM")
    with ThreadPoolExecutor(4) as several:
        list(several.map(partial(containers.start_again, policy=containers.NEVER), [container] * 80))
    container.reload()
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "no"


EARLIER = {
    "id": "/app", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32,
    "container": {"docker": {"image": IMAGE, "parameters": [{"key": "init", "value": "true"}]}},
}  # fmt: skip


@pytest.mark.parametrize(("command", "kind"), [("exec sleep 1000", "nothing"), ("exec sleep 2000", "replace")])
def test_what_an_earlier_version_made_is_found_and_kept_or_replaced(where, client, project, command, kind):
    body = container_body(Task(app(), project, 1))
    body["Labels"] |= {SOURCE: json.dumps(EARLIER), "cluster.definition": "any"}
    client.containers.get(client.api.create_container_from_config(body, f"{project}-app-1")["Id"]).start()
    assert where.present("/app") == app()
    assert where.plan(app(command)).kind == kind
    assert deploy(where, app(command)).running == 1
    assert where.stop("/app", now=True) is True
    assert where.status() == []

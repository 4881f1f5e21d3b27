"""Agent hosts that learn to trust a registry with TLS and a login, and pull from it."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cluster import credentials
from cluster.hosts import files as host_files
from cluster.hosts.files import LOGIN_ARCHIVE
from cluster.hosts.host import Host
from cluster.images import build as image_build
from cluster.images import registry_login
from cluster.images.registry_errors import CERTIFICATES
from cluster.operations import registry as registries
from cluster.operations.agents import check, images
from cluster.operations.agents.check import Finding
from cluster.queue import login as queue_login
from cluster.queue.login import QueueLogin
from cluster.settings import Settings
from commands import agents as agent_commands
from scripts.errors import ClusterError
from tests.conftest import own_settings
from tests.hosts.cluster import Hosts
from tests.hosts.host import TestHost

pytestmark = pytest.mark.engine

AGENTS = [Host("agent1"), Host("agent2", "ops"), Host("inner-3")]
# Each file with its time and number: written again, it is another.
FILES = (
    "find /etc/cluster /etc/docker/certs.d /root/.docker /home/ops/.docker -type f "
    "-printf '%p %T@ %i %m %u\\n' 2>/dev/null; true"
)
# A credential store, as docker speaks to one: it keeps what it is given in a file.
STORE = """#!/bin/sh
case "$1" in
store) cat >/root/store ;;
get) cat /root/store 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
list) echo '{}' ;;
esac
"""


@dataclass
class Place:
    """A registry on its host, and an image `small:v1` in it."""

    settings: Settings
    hosts: Hosts
    address: str

    @property
    def agents(self) -> list[TestHost]:
        return self.hosts.agents

    @property
    def login(self) -> str:
        access = registry_login.for_registry(self.address)
        assert access
        return base64.b64encode(f"{access.user}:{access.password}".encode()).decode()

    def trust(self, *names: Host, dry_run: bool = False) -> list[str]:
        said: list[str] = []
        wanted = names or tuple(AGENTS)
        try:
            images.trust(self.settings, wanted, timeout_s=60, dry_run=dry_run, say=said.append)
        except ClusterError as error:
            said.append(f"error: {error}")
        return said

    def pull(self, *names: Host, tag: str = "small:v1", dry_run: bool = False) -> list[str]:
        said: list[str] = []
        wanted = names or tuple(AGENTS)
        try:
            ref = images.pull(self.settings, wanted, tag, timeout_s=60, dry_run=dry_run, say=said.append)
        except ClusterError as error:
            return [*said, f"error: {error}"]
        return [*said, str(ref)]

    def check(self, *names: Host, url: str = "", marathon: str = "", settings: Settings | None = None) -> Any:
        asked = check.request(settings or self.settings, agent_commands._services(url, marathon))
        return check.check(settings or self.settings, names or AGENTS, asked, 60, lambda line: None)


@pytest.fixture(scope="module")
def place(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    tmp = tmp_path_factory.mktemp("agents")
    there = [*hosts.agents, hosts.registry]
    assert hosts.jump
    for host in there:
        host.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "SECRETS", tmp / ".secrets")
        settings = hosts.settings(own_settings(tmp))
        settings = replace(settings, registry=f"{hosts.registry.ip}:5000")
        registries.up(settings, "registry1", "", dry_run=False, say=print)
        made = Place(settings, hosts, settings.registry)
        assert "error" not in made.trust(Host("registry1"))[-1]
        hosts.registry.run(f"make-small-image {made.address}/small:v1 && docker push -q {made.address}/small:v1")
        yield made
    for host in there:
        host.clear()
    shutil.rmtree(CERTIFICATES / settings.registry, ignore_errors=True)


def wipe(*agents: TestHost) -> None:
    """Let them trust nothing and have no images."""

    def one(agent: TestHost) -> None:
        agent.clear()
        agent.run("docker image prune --all --force")

    with ThreadPoolExecutor() as threads:
        list(threads.map(one, agents))


@pytest.fixture
def fresh(place: Place) -> Place:
    """The same, with a first agent that trusts nothing and has no images."""
    wipe(place.agents[0])
    return place


@pytest.fixture
def all_fresh(place: Place) -> Place:
    """The same, with agents that trust nothing and have no images."""
    wipe(*place.agents)
    return place


def image_config(auth: str, registry: str) -> dict[str, Any]:
    return {"auths": {registry: {"auth": auth}}}


def in_archive(host: TestHost) -> dict[str, Any]:
    packed = base64.b64decode(host.run(f"base64 {LOGIN_ARCHIVE}"))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        assert tar.getnames() == [".docker/config.json"]
        member = tar.extractfile(".docker/config.json")
        assert member
        return dict(json.loads(member.read()))


# Trust


def test_every_host_learns_to_pull_and_to_run_as_root_and_as_the_user(all_fresh: Place) -> None:
    said = all_fresh.trust()
    ca = f"/etc/docker/certs.d/{all_fresh.address}/ca.crt"
    assert f"agent1: wrote {ca}, /root/.docker/config.json, {LOGIN_ARCHIVE}" in said
    assert f"ops@agent2: wrote {ca}, /root/.docker/config.json, /home/ops/.docker/config.json, {LOGIN_ARCHIVE}" in said
    for agent in all_fresh.agents:
        agent.run(f"docker pull -q {all_fresh.address}/small:v1")
        assert in_archive(agent) == image_config(all_fresh.login, all_fresh.address)
        assert agent.run(f"stat -c '%a %U' {ca} /root/.docker/config.json {LOGIN_ARCHIVE}").split("\n")[:3] == [
            "644 root", "600 root", "600 root"
        ]  # fmt: skip
    assert all_fresh.agents[1].run("stat -c '%a %U' /home/ops/.docker/config.json") == "600 ops\n"
    all_fresh.agents[1].run(
        "docker image prune --all --force; su ops -c 'docker pull -q " + all_fresh.address + "/small:v1'"
    )


def test_what_is_right_is_left_alone(all_fresh: Place) -> None:
    all_fresh.trust()
    before = [agent.run(FILES) for agent in all_fresh.agents]
    assert sorted(all_fresh.trust()) == [
        f"{host}: trusts {all_fresh.address} already" for host in sorted(map(str, AGENTS))
    ]
    assert [agent.run(FILES) for agent in all_fresh.agents] == before


def test_what_was_there_is_kept(fresh: Place) -> None:
    kept = {"auths": {"quay.example": {"auth": "eDp5"}}, "psFormat": "table", "credHelpers": {"other.example": "pass"}}
    host = fresh.agents[0]
    host.run(f"mkdir -p /root/.docker; echo '{json.dumps(kept)}' >/root/.docker/config.json")
    other = replace(fresh.settings, registry="other.example:5000")
    registry_login.keep(other.registry, registry_login.Access("someone", "else"))
    images.trust(other, AGENTS[:1], timeout_s=60, dry_run=False, say=print)
    fresh.trust(AGENTS[0])
    found = json.loads(host.run("cat /root/.docker/config.json"))
    assert {key: value for key, value in found.items() if key != "auths"} == {
        key: value for key, value in kept.items() if key != "auths"
    }
    assert sorted(found["auths"]) == sorted(["quay.example", "other.example:5000", fresh.address])
    assert sorted(in_archive(host)["auths"]) == sorted(["other.example:5000", fresh.address])
    host.run(f"docker pull -q {fresh.address}/small:v1")


def test_a_credential_store_is_used_where_there_is_one(fresh: Place) -> None:
    host = fresh.agents[0]
    host.run(f"cat >/usr/local/bin/docker-credential-test <<'END'\n{STORE}END\nchmod 755 /usr/local/bin/docker-*-test")
    host.run("""rm -f /root/store; mkdir -p /root/.docker; echo '{"credsStore": "test"}' >/root/.docker/config.json""")
    assert "the credential store test of /root/.docker/config.json" in fresh.trust(AGENTS[0])[0]
    access = registry_login.for_registry(fresh.address)
    assert access
    assert json.loads(host.run("cat /root/store")) == {
        "ServerURL": fresh.address, "Username": access.user, "Secret": access.password
    }  # fmt: skip
    assert access.password not in host.run("cat /root/.docker/config.json")
    assert fresh.trust(AGENTS[0]) == [f"agent1: trusts {fresh.address} already"]
    assert in_archive(host) == image_config(fresh.login, fresh.address)


def test_a_broken_configuration_is_named_and_the_rest_is_told(all_fresh: Place) -> None:
    all_fresh.agents[0].run("mkdir -p /root/.docker; echo '{' >/root/.docker/config.json")
    said = all_fresh.trust(*AGENTS[:2])
    assert said[-2].startswith("agent1: /root/.docker/config.json is not what docker writes (")
    assert said[-2].endswith(f"written before: /etc/docker/certs.d/{all_fresh.address}/ca.crt")
    assert said[-1].startswith(f"error: trust {all_fresh.address}: 1 of 2 hosts failed: agent1: ")
    assert all_fresh.agents[0].run("cat /root/.docker/config.json") == "{\n"
    assert in_archive(all_fresh.agents[1])


def test_a_dry_run_writes_nothing_and_names_all(fresh: Place) -> None:
    said = fresh.trust(AGENTS[0], dry_run=True)
    assert said == [
        f"agent1: would write /etc/docker/certs.d/{fresh.address}/ca.crt, /root/.docker/config.json, {LOGIN_ARCHIVE}"
    ]
    assert fresh.agents[0].run(FILES) == ""


def test_the_password_is_in_no_process_list(fresh: Place) -> None:
    host = fresh.agents[0]
    host.run("nohup sh -c 'while :; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; done' >/seen 2>/dev/null &")
    fresh.trust(AGENTS[0])
    fresh.pull(AGENTS[0])
    host.run("pkill -f /proc/[[]0-9[]]; tr '\\0' ' ' </seen >/seen.text")
    access = registry_login.for_registry(fresh.address)
    assert access
    host.run("grep -q sshd /seen.text")
    for secret in (access.password, fresh.login):
        assert host.run(f"grep -c -- '{secret}' /seen.text; true") == "0\n"


def test_a_registry_without_a_login_and_one_of_this_machine_are_refused(place: Place) -> None:
    def words(registry: str) -> str:
        with pytest.raises(ClusterError) as caught:
            images.trust(replace(place.settings, registry=registry), [], timeout_s=1, dry_run=False, say=print)
        return str(caught.value)

    assert "no login is kept for nobody.example:5000: ./inv registry.up --host" in words("nobody.example:5000")
    assert "localhost:5000 is this machine alone" in words("localhost:5000")


# Pull


def test_the_image_comes_to_every_host_by_its_content(all_fresh: Place) -> None:
    all_fresh.trust()
    said = all_fresh.pull()
    assert sorted(line.split(":")[0] for line in said[:3]) == sorted(map(str, AGENTS))
    assert all("pulled 1" not in line and " MB" in line for line in said[:3])
    ref = said[-1]
    assert ref.startswith(f"{all_fresh.address}/small@sha256:")
    for agent in all_fresh.agents:
        assert agent.run(f"docker run --rm {ref} /bin/sh -c 'exit 7'; echo $?") == "7\n"
    assert sorted(all_fresh.pull()) == sorted([*(f"{host}: has it already" for host in AGENTS), ref])


def test_a_tag_that_the_registry_does_not_hold_is_found_before_any_host_is_asked(place: Place) -> None:
    said = place.pull(Host("no-such.invalid"), tag="small:v9")
    assert [line.partition(": build")[0] for line in said] == [f"error: the registry holds no {place.address}/small:v9"]


def test_a_dry_run_pulls_nothing(fresh: Place) -> None:
    said = fresh.pull(AGENTS[0], dry_run=True)
    assert said[0].startswith(f"agent1: would pull {fresh.address}/small@sha256:")
    assert "small" not in fresh.agents[0].run("docker images")


def test_a_host_that_does_not_trust_the_registry_is_told_to(all_fresh: Place) -> None:
    all_fresh.trust(AGENTS[1])
    *_, why, error = all_fresh.pull(*AGENTS[:2])
    assert why.startswith("agent1: pull ")
    assert "that host does not trust the registry's certificate: ./inv agents.trust (" in why
    assert "x509: certificate signed by unknown authority" in why
    assert error == "error: pull small:v1: 1 of 2 hosts failed: agent1: mend that and run it again"


def test_a_wrong_login_is_told(fresh: Place) -> None:
    fresh.trust(AGENTS[0])
    path = registry_login.place(fresh.address)
    right = path.read_text()
    access = registry_login.for_registry(fresh.address)
    assert access
    path.write_text(right.replace(access.password, "wrong"))
    try:
        assert "does not take the login in" in fresh.pull(AGENTS[0])[-1]
        assert "! no" in check.as_table(fresh.check(AGENTS[0]), in_color=False)
    finally:
        path.write_text(right)


def test_a_full_disk_is_told(fresh: Place) -> None:
    fresh.trust(AGENTS[0])
    with fresh.agents[0].full("/var/lib/docker/tmp"):
        *_, why, _ = fresh.pull(AGENTS[0])
    assert why.startswith("agent1: pull ")
    assert "the disk is full where Docker keeps its data: docker system prune there" in why
    assert "pulled" in fresh.pull(AGENTS[0])[0]


def test_a_registry_that_is_away_is_told(fresh: Place) -> None:
    fresh.trust(AGENTS[0])
    container = f"{fresh.settings.project}-registry-1"
    fresh.hosts.registry.run(f"docker stop {container}")
    try:
        assert f"error: no registry answers at {fresh.address}" in fresh.pull(AGENTS[0])[-1]
        row = fresh.check(AGENTS[0])["agent1"]
        assert f"that host does not reach {fresh.address}: is the registry up" in row["registry"].remedy
    finally:
        fresh.hosts.registry.run(f"docker start {container}")


@pytest.fixture
def foreign(fresh: Place) -> str:
    """An image in the registry whose configuration says that it is for machines of another architecture."""
    machine = fresh.hosts.registry.run("docker version --format '{{.Server.Arch}}'").strip()
    other = "amd64" if machine == "arm64" else "arm64"
    fresh.hosts.registry.run(
        f"docker create --name small {fresh.address}/small:v1 sh && docker export small |"
        f" docker import --platform linux/{other} - {fresh.address}/foreign:{other} && docker rm small &&"
        f" docker push -q {fresh.address}/foreign:{other}"
    )
    fresh.trust(AGENTS[0])
    return f"foreign:{other}"


@pytest.mark.skipif(bool(image_build.emulators_here()), reason="this machine may emulate others")
def test_an_image_for_other_machines_is_refused_by_each_host_by_name(fresh: Place, foreign: str) -> None:
    *_, why, _ = fresh.pull(AGENTS[0], tag=foreign)
    assert "foreign@sha256" in why
    assert why.startswith("agent1: ")
    assert f"is built for {foreign.partition(':')[2]}, and not for " in why
    assert "foreign" not in fresh.agents[0].run("docker images")

    settings = replace(fresh.settings, worker=replace(fresh.settings.worker, tag=foreign))
    cell = fresh.check(AGENTS[0], settings=settings)["agent1"]["arch"]
    assert cell.text == fresh.agents[0].run("docker version --format '{{.Server.Arch}}'").strip()
    assert foreign in cell.remedy

    said: list[str] = []
    architectures = [foreign.partition(":")[2]]
    with pytest.raises(ClusterError, match=f"{foreign} is built for .*agent1"):
        images.refuse_foreign(fresh.settings, AGENTS[:1], foreign, architectures, said.append)
    images.refuse_foreign(fresh.settings, AGENTS[:1], foreign, [*architectures, cell.text], said.append)
    assert said == []


# Check


def test_hosts_that_can_do_their_work_are_ready(all_fresh: Place) -> None:
    all_fresh.trust()
    ssh_of_another = f"{all_fresh.agents[1].ip}:22"
    rows = all_fresh.check(url=f"amqp://user:secret@{ssh_of_another}", marathon=f"no-such.invalid:1,{ssh_of_another}")
    assert list(rows) == list(map(str, AGENTS))
    for row in rows.values():
        assert [name for name, cell in row.items() if cell.remedy] == []
        assert list(row) == [*check.COLUMNS[:-1], "queue", "marathon"]  # no queue has a password yet
        assert (row["ssh"].text, row["queue"].text, row["marathon"].text) == ("yes", "yes", "yes")
        assert row["registry"].text == "yes, no worker:v1 yet"
    assert rows["ops@agent2"]["user"].text == "ops, sudo"
    check.refuse_red(rows)
    settings = replace(all_fresh.settings, worker=replace(all_fresh.settings.worker, tag="small:v1"))
    assert all_fresh.check(AGENTS[0], settings=settings)["agent1"]["registry"].text == "yes"


def test_a_host_without_the_workers_password_is_red(fresh: Place) -> None:
    def kept(environ: dict[str, str]) -> QueueLogin:
        login = queue_login.ensure(fresh.settings, environ)
        with queue_login.used(fresh.settings, login):
            return login

    login = kept({})
    try:
        files = queue_login.for_workers(login).files
        host_files.put(fresh.settings, AGENTS[1:2], files, "put it", lambda line: None)
        rows = fresh.check(*AGENTS[:2])
        assert rows["ops@agent2"]["password"] == Finding("yes")
        red = rows["agent1"]["password"]
        assert (red.text, red.remedy.partition(",")[0]) == ("no", files[0].path_on_hosts(fresh.settings.project))
        assert red.remedy.endswith("is not there: ./inv worker.deploy puts it on all of agents.hosts")
        kept({"AMQP_PASSWORD": "a new one"})
        assert fresh.check(AGENTS[1])["ops@agent2"]["password"].text == "another"
    finally:
        for path in credentials.SECRETS.glob(f"{fresh.settings.project}-queue*.json"):
            path.unlink()


def test_every_red_cell_says_what_to_do(fresh: Place) -> None:
    settings = replace(fresh.settings, worker=replace(fresh.settings.worker, mem_mib=10**9))
    rows = fresh.check(
        AGENTS[0], Host("agent2", port=9), url=f"amqp://{fresh.agents[1].ip}:9", marathon="no-such.invalid:8080",
        settings=settings,
    )  # fmt: skip
    red = {name: cell.remedy for name, cell in rows["agent1"].items() if cell.remedy}
    assert list(red) == ["memory", "registry", "queue", "marathon"]
    assert red["memory"].startswith("not one worker fits (worker.mem_mib is 1000000000)")
    assert red["registry"].endswith("./inv agents.trust")
    assert f"({fresh.agents[1].ip}:9: Connection refused)" in red["queue"]
    assert "(no-such.invalid:8080: " in red["marathon"]
    assert rows["agent2:9"]["ssh"].remedy.startswith("connection refused at ")
    with pytest.raises(ClusterError, match=r"^2 of 2 hosts are not ready: agent1, agent2:9: see above"):
        check.refuse_red(rows)


def test_a_host_without_its_engine_is_red_there(fresh: Place) -> None:
    host = fresh.agents[0]
    host.stop_engine()
    try:
        row = fresh.check(AGENTS[0])["agent1"]
    finally:
        host.start_engine()
    assert row["engine"].remedy == "the Docker Engine does not run: systemctl start docker there"
    assert "disk" not in row
    assert row["clock"].remedy == ""


def test_a_registry_of_this_machine_alone_is_red(place: Place) -> None:
    row = place.check(AGENTS[0], settings=replace(place.settings, registry="localhost:5000"))["agent1"]
    assert "./inv registry.up --host HOST sets up one" in row["registry"].remedy

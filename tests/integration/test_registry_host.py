"""A private registry on a host that has nothing and reaches nobody, set up over a real SSH connection."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from docker.errors import ImageNotFound

from cluster import credentials
from cluster.apps.app import AppSpec
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import registry_api, registry_login
from cluster.images.registry_errors import CERTIFICATES
from cluster.images.registry_login import Access
from cluster.operations import images
from cluster.operations import registry as registries
from cluster.registry import certificates, plan
from cluster.registry.host import check_from_here
from cluster.registry.plan import CERTIFICATE, HTPASSWD, IMAGE, KEY, OWNER
from cluster.schedulers.docker import scheduler as containers
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from tests.archives import packed
from tests.conftest import missing, own_settings
from tests.hosts.cluster import Hosts
from tests.hosts.host import TestHost
from tests.waiting import until

pytestmark = pytest.mark.engine

# Each file with its time and number: written again, it is another.
FILES = "find /etc/cluster -type f -printf '%p %T@ %i %m %U\\n' | sort"


@dataclass
class Place:
    """A host and the settings that go with its registry."""

    settings: Settings
    host: TestHost
    said: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.host.ip}:5000"

    @property
    def container(self) -> str:
        return f"{self.settings.project}-registry-1"

    @property
    def access(self) -> Access:
        access = registry_login.for_registry(self.address)
        assert access
        return access

    def up(self, host: str = "") -> str:
        self.said.clear()
        return registries.up(self.settings, host or self.host.name, "", dry_run=False, say=self.said.append)

    def put(self, path: str, content: bytes) -> None:
        """Leave a file on the host, as the registry can read it."""
        self.host.run(f"cat >{path} <<'END'\n{content.decode().strip()}\nEND\nchown {OWNER} {path}; chmod 600 {path}")

    def serve(self, issued: datetime, name: str = "") -> None:
        """Let the registry have a certificate of that time, for that name."""
        pair = certificates.of(self.settings.project, datetime.now(UTC)).issue(name or self.host.ip, issued)
        self.put(CERTIFICATE, pair.certificate)
        self.put(KEY, pair.key)
        self.host.run(f"docker restart {self.container}")
        self.wait()

    def wait(self) -> None:
        """Return when it shows a certificate; the engine takes connections in its place before."""
        until(lambda: registries.status(self.settings, "", print).certificate_ends, "it shows a certificate")


@pytest.fixture(scope="module")
def place(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The registry host, with its registry up."""
    host, tmp = hosts.registry, tmp_path_factory.mktemp("registry")
    host.clear()
    host.run(f"docker image rm {IMAGE} 2>/dev/null; true")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "SECRETS", tmp / ".secrets")
        made = Place(hosts.settings(own_settings(tmp)), host)
        made.settings = replace(made.settings, registry=made.address)
        made.up()
        yield made
    host.clear()
    as_root("rm", "-rf", str(CERTIFICATES / made.address))


@pytest.fixture
def trusting(place: Place) -> Place:
    """The same, where this machine's engine was allowed to trust the registry."""
    trust = CERTIFICATES / place.address / "ca.crt"
    if not trust.is_file():
        as_root("install", "-D", "-m", "644", str(place.access.ca), str(trust))
    if not trust.is_file():
        missing("this machine's engine trusts a registry only when root says so")
    return place


def as_root(*command: str) -> None:
    """Run a command as root, whoever runs the tests."""
    subprocess.run(["sudo", "-n", *command] if os.getuid() else command, check=False)


@pytest.fixture
def ref(place: Place, docker_client: Any) -> Iterator[ImageRef]:
    """A small image with a name at the registry, here."""
    ref = ImageRef("small", "v1", place.address)
    docker_client.api.import_image_from_data(packed({"nothing": b""}), repository=ref.repository, tag=ref.tag)
    yield ref
    with suppress(ImageNotFound):
        docker_client.images.remove(str(ref), force=True)


def questions(client: Any, ref: ImageRef) -> list[Callable[[], Any]]:
    """All that meets a registry's certificate and login: this program, and the engine that it asks."""
    return [
        lambda: registry_api.stored(ref.registry),
        lambda: image_build.refuse_useless_registry(client, ref),
        lambda: image_build.push(client, ref, print),
    ]


def test_it_is_set_up_from_nothing(place: Place) -> None:
    assert place.host.run(f"stat -c '%a %u %g' {CERTIFICATE} {KEY} {HTPASSWD}").splitlines() == ["600 901 901"] * 3
    assert place.said[0].startswith(f"sending {IMAGE} to {place.host.name} (")
    assert f"starting the registry on {place.host.name}" in place.said
    assert f"the registry answers at {place.address}, with TLS and a login" in place.said[-1]
    registry_api.check(place.address)
    top = place.host.run(f"docker top {place.container} -eo uid,pid,cmd")
    assert {line.split()[0] for line in top.splitlines()[1:]} == {"901"}


def test_nothing_secret_is_where_it_does_not_belong(place: Place) -> None:
    ca_key = certificates.place(place.settings.project).with_suffix(".key").read_text().splitlines()[1]
    dry = registries.up(place.settings, place.host.name, "", dry_run=True, say=print)
    there = place.host.run(f"docker inspect {place.container}; docker logs {place.container} 2>&1; cat {HTPASSWD}")
    for text in (dry, there, "\n".join(place.said)):
        assert place.access.password not in text
        assert "PRIVATE KEY" not in text
    found = place.host.run(f"grep -rl '{ca_key[:40]}' /etc /var/lib/cluster /root /home /tmp || echo nowhere")
    assert found == "nowhere\n"


@pytest.mark.parametrize("user", ["", "ops@"])
def test_done_again_it_changes_nothing(place: Place, user: str) -> None:
    kept = {path: path.read_bytes() for path in credentials.SECRETS.iterdir()}
    files, running = place.host.run(FILES), place.host.run("docker ps --no-trunc -q")
    assert place.up(host=user + place.host.name) == place.address
    assert place.said[0] == f"the registry on {user}{place.host.name} is as it should be: nothing was changed"
    assert len(place.said) == 2
    assert (place.host.run(FILES), place.host.run("docker ps --no-trunc -q")) == (files, running)
    assert {path: path.read_bytes() for path in credentials.SECRETS.iterdir()} == kept


def test_an_image_goes_there_with_our_login_and_is_listed(trusting: Place, docker_client: Any, ref: ImageRef) -> None:
    digest = image_build.push(docker_client, ref, print)
    (stored,) = json.loads(images.listed(trusting.settings, as_json=True))
    assert (stored["name"], stored["tag"], stored["digest"]) == (ref.name, ref.tag, digest)
    assert registry_api.RegistryClient(trusting.address).image(ref.name, "v2") is None
    assert image_build.deployable(docker_client, ref) == f"{ref.repository}@{digest}"
    docker_client.images.remove(str(ref))
    assert image_build.deployable(docker_client, ref) == f"{ref.repository}@{digest}"
    app = AppSpec("/small", image=f"{ref.repository}@{digest}")
    containers.pull_missing(docker_client, app, print)
    docker_client.images.get(f"{ref.repository}@{digest}").tag(ref.repository, ref.tag)
    with pytest.raises(ClusterError, match=r"small:v2"):
        image_build.deployable(docker_client, replace(ref, tag="v2"))


def test_status_tells_what_a_person_needs(place: Place) -> None:
    seen = registries.status(place.settings, place.host.name, print)
    assert (seen.address, seen.problem, seen.host) == (place.address, "", place.host.name)
    assert seen.container == f"{place.container} is running"
    assert seen.room
    assert 0 < seen.room.taken < seen.room.total
    assert seen.certificate_ends
    assert 363 < (seen.certificate_ends - datetime.now(UTC)).days + 1 < 367
    text = registries.as_text(seen)
    assert f"SHA-256 {seen.ca_sha256}" in text
    assert seen.ca_sha256.count(":") == 31
    assert json.loads(registries.as_json(registries.status(place.settings, "", print)))["address"] == place.address
    registries.refuse_useless(seen)


def test_a_wrong_login_is_one_line_and_is_put_right(trusting: Place, docker_client: Any, ref: ImageRef) -> None:
    right = trusting.access
    try:
        registry_login.keep(trusting.address, replace(right, password="wrong"))
        for ask in questions(docker_client, ref):
            with pytest.raises(ClusterError, match="does not take the login in") as failure:
                ask()
            assert "\n" not in str(failure.value)
        trusting.up()
        assert trusting.said[0].endswith(f"{HTPASSWD} is new: it does not let our login in")
        assert len(trusting.said) == 2  # the registry reads it again by itself
        registry_api.check(trusting.address)
    finally:
        registry_login.keep(trusting.address, right)
        trusting.up()


def test_no_proxy_is_asked_for_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    registry_api.check(place.address)


def test_who_has_no_login_is_not_let_in(place: Place) -> None:
    answer = requests.get(f"https://{place.address}/v2/", verify=str(place.access.ca), timeout=10)
    assert answer.status_code == requests.codes.unauthorized


def test_a_certificate_in_its_last_month_is_renewed_and_used(place: Place) -> None:
    before, login_there = place.access, place.host.run(f"cat {HTPASSWD}")
    place.serve(datetime.now(UTC) - timedelta(days=340))
    assert (ends := registries.status(place.settings, "", print).certificate_ends)
    assert (ends - datetime.now(UTC)).days == 24
    place.up()
    assert f"restarting the registry on {place.host.name}" in place.said
    renewed = registries.status(place.settings, "", print)
    assert renewed.certificate_ends
    assert (renewed.certificate_ends - datetime.now(UTC)).days == 364
    assert (place.access, place.host.run(f"cat {HTPASSWD}")) == (before, login_there)


@pytest.mark.parametrize(
    ("age_days", "name", "words"), [(400, "", "has ended, or a clock is wrong"), (0, "10.9.9.9", "is for another name")]
)
def test_a_certificate_that_is_wrong_is_told_and_put_right(
    trusting: Place, docker_client: Any, ref: ImageRef, age_days: int, name: str, words: str
) -> None:
    trusting.serve(datetime.now(UTC) - timedelta(days=age_days), name)
    for ask in questions(docker_client, ref):
        with pytest.raises(ClusterError, match=words):
            ask()
    seen = registries.status(trusting.settings, "", print)
    assert words in seen.problem
    with pytest.raises(ServiceAway, match=trusting.address):
        registries.refuse_useless(seen)
    trusting.up()
    registry_api.check(trusting.address)


def test_an_engine_that_does_not_trust_it_is_told_the_command(
    trusting: Place, docker_client: Any, ref: ImageRef
) -> None:
    trust = CERTIFICATES / trusting.address / "ca.crt"
    as_root("rm", str(trust))
    with pytest.raises(ClusterError, match=f"sudo install -D -m 644 {trusting.access.ca} {trust}"):
        image_build.push(docker_client, ref, print)
    if os.getuid():
        as_root("install", "-D", "-m", "644", str(trusting.access.ca), str(trust))
    trusting.up()
    image_build.push(docker_client, ref, print)


def test_what_is_missing_is_made_again(place: Place) -> None:
    password = place.access.password
    place.host.run(f"docker rm -f {place.container}; rm {HTPASSWD}")
    place.up()
    assert place.said[0].endswith(f"{HTPASSWD} is new: there is none")
    assert place.said[1] == f"starting the registry on {place.host.name}"
    assert place.access.password == password
    registry_api.check(place.address)


def test_an_image_that_does_not_fit_is_told_and_sent_when_it_fits(place: Place) -> None:
    place.host.run(f"docker rm -f {place.container}; docker image rm {IMAGE}")
    place_of_data = "the disk is full where the Docker Engine keeps its data, /var/lib/docker"
    full = pytest.raises(ClusterError, match=rf"^{place.host.name}: {place_of_data}: \d+ MB")
    with place.host.full("/var/lib/docker"), full:
        place.up()
    with pytest.raises(ServiceAway, match=f"^{place.host.name}: ") as failure:
        registries.up(place.settings, place.host.name, "", dry_run=False, say=end_ssh(place.host))
    assert "\n" not in str(failure.value)
    place.up()
    assert place.said[0].startswith("sending ")


# An interruption within a request of Docker's SDK leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("line", [f"{CERTIFICATE} is", "starting"])
def test_who_is_interrupted_picks_up(place: Place, line: str) -> None:
    place.host.run(f"docker rm -f {place.container}; rm -rf /etc/cluster")
    interrupt_at(line, place)
    place.up()
    registry_api.check(place.address)


def end_ssh(host: TestHost) -> Callable[[str], None]:
    """Ends all SSH connections of the host as soon as an image is on its way."""
    return lambda text: text.startswith("sending ") and host.run("pkill -KILL -f 'sshd[-a-z]*: root'") and None


def interrupt_at(line: str, place: Place) -> None:
    """Set it up as far as to where this is said."""

    def stop_at(text: str) -> None:
        if line in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registries.up(place.settings, place.host.name, "", dry_run=False, say=stop_at)


def test_a_dry_run_changes_nothing(place: Place) -> None:
    files, place.said[:] = place.host.run(FILES), []
    told = json.loads(registries.up(place.settings, place.host.name, "", dry_run=True, say=place.said.append))
    assert told["container"] == {"change": "nothing", "sent": {}}
    assert (told["image"]["send"], set(told["files"].values())) == (False, {"stays"})
    fresh = replace(place.settings, project=f"{place.settings.project}-2")
    with pytest.raises(ClusterError, match="another CA"):
        registries.up(fresh, place.host.name, "", dry_run=True, say=place.said.append)
    assert (place.host.run(FILES), place.said) == (files, [])
    assert not certificates.place(fresh.project).exists()


def test_nobody_elses_registry_is_taken_over(place: Place) -> None:
    other = replace(place, settings=replace(place.settings, project=f"{place.settings.project}-2"), said=[])
    with pytest.raises(ClusterError, match=f"^{place.host.name}: .*another CA"):
        other.up()
    assert not certificates.place(other.settings.project).exists()
    registry_api.check(place.address)


def test_an_address_that_leads_elsewhere_is_told(place: Place) -> None:
    now = datetime.now(UTC)
    elsewhere = plan.for_host(place.address, {}, certificates.of(place.settings.project, now), now)
    with pytest.raises(ClusterError, match=f"host1.*another.* {place.address}"):
        check_from_here("host1", elsewhere)
    with pytest.raises(ServiceAway, match=f"host1.* {place.host.ip}:1:"):
        check_from_here("host1", replace(elsewhere, address=f"{place.host.ip}:1"))


def test_nobody_elses_address_is_taken(place: Place, hosts: Hosts) -> None:
    hosts.agent.clear()
    other = replace(place.settings, project=f"{place.settings.project}-4")
    with pytest.raises(ClusterError, match=f"{place.address} .*our CA"):
        registries.up(other, hosts.agent.name, place.address, dry_run=False, say=place.said.append)
    assert hosts.agent.run("ls -d /etc/cluster 2>&1 || true").endswith("No such file or directory\n")
    registry_api.check(place.address)


def test_a_port_that_is_taken_is_told_with_its_holder(place: Place) -> None:
    other = replace(place, settings=replace(place.settings, project=f"{place.settings.project}-3"), said=[])
    place.host.run("mv /etc/cluster /etc/kept")
    kept = place.access
    try:
        with pytest.raises(ClusterError, match=f"5000 .*{place.container}: .*:5001"):
            other.up()
        assert other.said == []  # before anything is sent
        place.host.run(f"docker stop -t 0 {place.container}")
        place.host.run("/usr/sbin/sshd -p 5000 -o PidFile=/run/other.pid")
        with pytest.raises(ClusterError, match=r"5000 .*(sshd \(process \d+\)|another program): "):
            other.up()
    finally:
        place.host.run("kill $(cat /run/other.pid); rm -rf /etc/cluster; mv /etc/kept /etc/cluster")
        place.up()
    assert place.access == kept


def test_its_log_is_read_and_it_is_stopped(place: Place) -> None:
    (line,) = registries.logs(place.settings, place.host.name, 1, False, print)
    assert line.startswith(f"{place.container}: ")
    try:
        registries.stop(place.settings, place.host.name, place.said.append)
        seen = registries.status(place.settings, place.host.name, print)
        assert (seen.container, seen.certificate_ends) == ("", None)
        assert f"no registry answers at {place.address}" in seen.problem
        with pytest.raises(ClusterError, match=f"^{place.host.name}: no registry"):
            registries.stop(place.settings, place.host.name, print)
        with pytest.raises(ClusterError, match=f"^{place.host.name}: no registry"):
            list(registries.logs(place.settings, place.host.name, 1, False, print))
    finally:
        place.up()


def test_a_host_without_an_engine_says_so(place: Place, hosts: Hosts) -> None:
    with pytest.raises(ClusterError, match=r"^jump: the Docker Engine"):
        place.up(host=hosts.jump.name)
    assert place.said == []


def test_a_full_disk_is_named(place: Place) -> None:
    place.host.run(f"docker rm -f {place.container}; rm -rf /etc/cluster/registry")
    full = pytest.raises(ClusterError, match=f"^{place.host.name}: write {HTPASSWD}: ")
    with place.host.full("/etc/cluster/registry"), full as failure:
        place.up()
    assert "\n" not in str(failure.value)
    with place.host.full("/var/lib/cluster/registry"):
        place.up()
        assert registry_api.write_problem(place.address, "small") == "No space left on device"
        assert "the disk is full" in registries.status(place.settings, place.host.name, print).problem
        place.host.run(f"docker rm -f {place.container}")
    place.up()
    assert registry_api.write_problem(place.address, "small") == ""
    uploads = "find /var/lib/cluster/registry/docker/registry/v2/repositories/small/_uploads -name data"
    assert place.host.run(uploads) == ""

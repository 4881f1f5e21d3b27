"""What a registry's host should have, reckoned from what it has."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.hosts.remote import ports_of
from cluster.images import registry_login
from cluster.registry import certificates, plan
from cluster.registry.certificates import Authority, Pair
from cluster.registry.plan import CERTIFICATE, HTPASSWD, KEY, Found, Plan
from cluster.schedulers.docker.body import Task, container_body
from cluster.settings import Settings
from tests.conftest import own_settings
from tests.refusing import refusal

NOW = datetime(2030, 5, 17, 12, tzinfo=UTC)
ADDRESS = "10.0.0.5:5000"


@pytest.fixture(autouse=True)
def ca(secrets_folder: Path) -> Authority:
    made = certificates.of("test", NOW)
    made.keep()
    return made


@pytest.fixture
def first(ca: Authority) -> Plan:
    """For a host that has nothing; its login is kept as a run does it."""
    made = plan.for_host(ADDRESS, {}, ca, NOW)
    registry_login.keep(ADDRESS, made.access)
    return made


def found(made: Plan) -> Found:
    """A host on which a plan was brought about."""
    return dict(made.files)


def test_a_host_with_nothing_gets_everything(first: Plan) -> None:
    assert list(first.news) == [KEY, CERTIFICATE, HTPASSWD]
    assert list(first.files)[-1] == CERTIFICATE
    assert plan.lets_in(first.files[HTPASSWD], first.access.user, first.access.password)


def test_a_host_that_has_all_keeps_all(first: Plan, ca: Authority) -> None:
    again = plan.for_host(ADDRESS, found(first), ca, NOW + timedelta(days=300))
    assert again == first.__class__(**{**first.__dict__, "news": {}})
    assert again.app == first.app


def test_nothing_secret_is_shown_of_a_plan(first: Plan) -> None:
    for secret in (first.access.password, first.files[HTPASSWD].decode().strip(), "PRIVATE"):
        assert secret not in repr(first)
        assert secret not in repr(first.app)


def test_a_certificate_at_its_end_is_renewed_and_nothing_else(first: Plan, ca: Authority) -> None:
    again = plan.for_host(ADDRESS, found(first), ca, NOW + timedelta(days=336))
    assert again.news == {KEY: "new, with its certificate", CERTIFICATE: "new: it ends on 2031-05-17"}
    assert (again.files[HTPASSWD], again.access) == (first.files[HTPASSWD], first.access)
    assert again.app.labels["certificate"] != first.app.labels["certificate"]
    assert again.app == first.app.with_labels(again.app.labels)


@pytest.mark.parametrize("lost", [CERTIFICATE, KEY])
def test_half_a_pair_is_none(first: Plan, ca: Authority, lost: str) -> None:
    again = plan.for_host(ADDRESS, {**found(first), lost: None}, ca, NOW)
    assert again.news[CERTIFICATE] == "new: there is none"
    assert certificates.reason_to_renew(Pair(again.files[CERTIFICATE], again.files[KEY]), "10.0.0.5", ca, NOW) == ""


def test_a_login_that_was_lost_there_is_put_back(first: Plan, ca: Authority) -> None:
    for htpasswd, why in ((None, "new: there is none"), (b"cluster:x", "new: it does not let our login in")):
        again = plan.for_host(ADDRESS, {**found(first), HTPASSWD: htpasswd}, ca, NOW)
        assert again.news == {HTPASSWD: why}
        assert again.access == first.access


def test_a_registry_that_gets_another_address_keeps_its_password(first: Plan, ca: Authority) -> None:
    moved = plan.for_host("registry.example:443", found(first), ca, NOW)
    assert moved.access == first.access
    assert moved.news[CERTIFICATE] == "new: it is not for registry.example"
    assert moved.app.ports[0].host == 443
    other_host = plan.for_host("10.0.0.6:5000", {}, ca, NOW)
    assert other_host.access.password != first.access.password


def test_a_login_that_cannot_be_read_stands_in_nobody_elses_way(first: Plan, ca: Authority) -> None:
    registry_login.place("10.0.0.9:5000").write_text("{")
    assert plan.for_host("registry.example:443", found(first), ca, NOW).access == first.access


def test_nobody_takes_over_the_registry_of_another_ca(first: Plan, ca: Authority) -> None:
    plan.refuse_other_authority(found(first), ca, "host1")
    plan.refuse_other_authority({}, ca, "host1")
    plan.refuse_other_authority({CERTIFICATE: b"half a fi"}, ca, "host1")
    words = refusal(plan.refuse_other_authority, found(first), certificates.of("other", NOW), "host1")
    assert [name for name in ("host1: ", "CN=test registry CA", CERTIFICATE) if name not in words] == []


@pytest.mark.parametrize(
    ("configured", "host", "given", "chosen"),
    [
        ("localhost:5000", "10.0.0.5", "", "10.0.0.5:5000"),
        ("", "fe80::5", "", "[fe80::5]:5000"),
        ("registry.example:443", "10.0.0.5", "", "registry.example:443"),
        ("registry.example:443", "10.0.0.5", "10.0.0.5:5001", "10.0.0.5:5001"),
    ],
)
def test_the_address_is_as_given_else_as_configured_else_the_hosts(
    tmp_path: Path, configured: str, host: str, given: str, chosen: str
) -> None:
    assert plan.address(settings(tmp_path, configured), host, given) == chosen


@pytest.mark.parametrize("given", ["localhost:5000", "127.0.0.1:5000", "0.0.0.0:5000", "[::1]:5000"])
def test_an_address_that_is_another_machine_for_each_is_refused(tmp_path: Path, given: str) -> None:
    assert given in refusal(plan.address, settings(tmp_path, "localhost:5000"), "10.0.0.5", given)
    assert "--address HOST:PORT" in refusal(plan.address, settings(tmp_path, "localhost:5000"), "127.0.0.1", "")


@pytest.mark.parametrize("given", ["registry", "http://10.0.0.5:5000", "10.0.0.5:5000/x", "me@10.0.0.5:5000"])
def test_what_docker_takes_for_no_registry_is_refused(tmp_path: Path, given: str) -> None:
    assert "address" in refusal(plan.address, settings(tmp_path, ""), "10.0.0.5", given)


def settings(tmp: Path, registry: str) -> Settings:
    return replace(own_settings(tmp), registry=registry)


def test_it_is_open_to_the_network_with_its_data_in_the_hosts_folders(ca: Authority) -> None:
    app = plan.for_host("10.0.0.5:5001", {}, ca, NOW).app
    body: dict[str, Any] = container_body(Task(app, "test", 1, (5001,), on_host=True))
    assert body["HostConfig"]["PortBindings"] == {"5000/tcp": [{"HostIp": "", "HostPort": "5001"}]}
    assert body["HostConfig"]["Mounts"] == [
        {"Target": "/var/lib/registry", "ReadOnly": False, "Type": "bind", "Source": "/var/lib/cluster/registry"},
        {"Target": "/etc/cluster/registry", "ReadOnly": True, "Type": "bind", "Source": "/etc/cluster/registry"},
    ]
    assert "REGISTRY_AUTH=htpasswd" in body["Env"]


def test_the_ports_that_are_listened_on() -> None:
    sockets = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6015 1 0 100 0 0 10 0
   1: 0100007F:1389 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 6016 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
"""
    assert ports_of(sockets) == {5000, 22}


def test_the_hash_lets_in_who_has_the_password_and_nobody_else() -> None:
    file = plan.htpasswd_file("cluster", "hidden")
    assert b"hidden" not in file
    assert file.startswith(b"cluster:$2b$")
    assert plan.lets_in(file, "cluster", "hidden")
    assert not plan.lets_in(file, "cluster", "hiddenx")
    assert not plan.lets_in(file, "other", "hidden")
    assert not plan.lets_in(file + plan.htpasswd_file("other", "x"), "cluster", "hidden")


@pytest.mark.parametrize("file", [None, b"", b"cluster", b"cluster:", b"cluster:plain\n", b"\xff"])
def test_a_file_that_is_no_htpasswd_lets_nobody_in(file: bytes | None) -> None:
    assert not plan.lets_in(file, "cluster", "plain")


def test_no_two_passwords_are_alike(ca: Authority) -> None:
    found = {plan.for_host(f"10.0.0.{number}:5000", {}, ca, NOW).access.password for number in range(5)}
    assert sorted(map(len, found)) == [32] * 5

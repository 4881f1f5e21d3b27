"""What is red, and how it is shown."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.operations.agents.check import Finding, as_json, as_table, disk, machine, password, refuse_red, request
from commands.agents import _services
from scripts.hostport import HostPort
from tests.conftest import SETTINGS
from tests.refusing import refusal

SAID = "clock 1000.5\ncores 8\nmemory_kib 2048\n"
ASKED = request(SETTINGS, {})
ROWS = {
    "agent1": {"ssh": Finding("yes"), "disk": Finding("0.1 GiB free", "make room"), "cores": Finding("8")},
    "root@a2": {"ssh": Finding("no", "is it up?")},
    "a3": {"ssh": Finding("yes"), "disk": Finding("9.0 GiB free"), "cores": Finding("64")},
}


def test_what_a_host_says_is_set_against_our_clock() -> None:
    found = {"memory": Finding("0.0 GiB free"), "cores": Finding("8"), "clock": Finding("+0.3 s")}
    assert machine("a", SAID, 1000.0, 1000.4, 2) == found


@pytest.mark.parametrize("said", ["", "clock x\ncores 8\nmemory_kib 1", "cores 8\nclock 1"])
def test_a_host_that_is_no_linux_is_named(said: str) -> None:
    assert "a: " in refusal(machine, "a", said, 0, 0, 1)


@pytest.mark.parametrize(
    ("clock", "doubt_s", "text", "is_red"),
    [
        ("1000.9", 0.0, "+0.9 s", False),
        ("998.8", 0.1, "-1.2 s", True),
        ("1001.2", 0.3, "+1.2 s", False),
        ("-2600", 0.1, "-3,600.0 s", True),
        ("1000.%N", 0.2, "+0.5 s", False),  # of whole seconds
        ("1001.%N", 0.1, "+1.5 s", False),
        ("1002.%N", 0.1, "+2.5 s", True),
    ],
)
def test_a_clock_that_is_wrong_for_sure_is_red(clock: str, doubt_s: float, text: str, is_red: bool) -> None:
    said = SAID.replace("1000.5", clock)
    finding = machine("a", said, 1000 - doubt_s, 1000 + doubt_s, 1)["clock"]
    assert (finding.text, bool(finding.remedy)) == (text, is_red)


def _with_disk(free_bytes: int) -> Any:
    engine = SimpleNamespace(info=lambda: {"DockerRootDir": "/d"})
    return SimpleNamespace(name="a", engine=lambda: engine, disk=lambda folder: SimpleNamespace(free=free_bytes))


def test_room_for_an_image_and_a_worker_is_needed() -> None:
    assert disk(_with_disk(2048 << 20), ASKED) == {"disk": Finding("2.0 GiB free")}
    assert "docker system prune" in disk(_with_disk((2048 << 20) - 1), ASKED)["disk"].remedy
    said = SAID.replace("2048", str(1024 << 10))
    assert machine("a", said, 1000, 1001, 1024)["memory"] == Finding("1.0 GiB free")
    assert "worker.mem_mib is 1025" in machine("a", said, 1000, 1001, 1025)["memory"].remedy


def test_the_password_is_red_where_workers_could_not_log_in() -> None:
    wanted = {"/s/amqp": b"secret\n", "/s/marathon": b"other\n"}

    def finding(found: dict[str, bytes | None]) -> Finding:
        host: Any = SimpleNamespace(read=lambda path, sudo: found.get(path))
        return password(host, replace(ASKED, secrets=wanted))["password"]

    assert finding({**wanted}) == Finding("yes")
    assert finding({**wanted, "/s/marathon": None}) == Finding(
        "no", "/s/marathon, with which workers log in, is not there: ./inv worker.deploy puts it on all of agents.hosts"
    )
    red = finding({"/s/amqp": b"before\n", "/s/marathon": None})
    assert red.text == "another"
    assert red.remedy.startswith("/s/amqp, with which workers log in, has another than .secrets/ here: ")
    assert "before" not in red.remedy


def test_what_is_asked_for_comes_from_settings_and_flags() -> None:
    services = _services("amqps://user:secret@[::1]", "http://m1:8080/x,m2:80")
    assert services == {"queue": [HostPort("::1", 5671)], "marathon": [HostPort("m1", 8080), HostPort("m2", 80)]}
    assert str(request(SETTINGS, services).image) == "localhost:5000/worker:v1"
    assert _services("", "") == {}


@pytest.mark.parametrize("url", ["rabbit:5672", "http://a:1", "amqp://", "amqp://a:b", "amqp://u:secret@a:99999"])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    found = refusal(_services, url, "")
    assert "amqp://" in found
    assert "secret" not in found


def test_a_table_marks_what_is_red_and_tells_what_to_do() -> None:
    assert as_table(ROWS, in_color=False).splitlines() == [
        "HOST     SSH   DISK            CORES",
        "agent1   yes   ! 0.1 GiB free  8",
        "root@a2  ! no  -               -",
        "a3       yes   9.0 GiB free    64",
        "",
        "agent1: disk: make room",
        "root@a2: ssh: is it up?",
    ]
    assert "\x1b[31m! no" in as_table(ROWS, in_color=True)


def test_a_table_without_red_has_nothing_below() -> None:
    assert as_table({"a3": ROWS["a3"]}, in_color=False).splitlines()[-1].startswith("a3 ")
    refuse_red({"a3": ROWS["a3"]})


def test_red_cells_are_refused_by_host() -> None:
    assert "agent1, root@a2: " in refusal(refuse_red, ROWS)


def test_json_has_it_all() -> None:
    one, other, _ = json.loads(as_json(ROWS))
    assert one["disk"] == {"text": "0.1 GiB free", "ok": False, "remedy": "make room"}
    assert (one["ok"], other) == (
        False, {"host": "root@a2", "ok": False, "ssh": {"text": "no", "ok": False, "remedy": "is it up?"}}
    )  # fmt: skip

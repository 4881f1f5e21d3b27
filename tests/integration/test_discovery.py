"""marathon_app_hostport against the stand-in for Marathon, and against servers that are no Marathon."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from scripts import marathon_app_hostport
from scripts.errors import ServiceAway
from scripts.marathon.discovery import discover
from tests.certificates import server_context, write_certificates
from tests.integration.marathon_rig import CHECKS, QUEUE_APP
from tests.standin import filters, wire
from tests.standin.api import Response, message
from tests.standin.server import Standin
from tests.standin.world import World

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = QUEUE_APP | {"healthChecks": CHECKS}
PASSWORD, TOKEN = "open sesame", "eyJ0.abc"
AGENT = "agent1:31000\n"


class Printed:
    """What the program left behind; `error` is its one line without the word in front."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out = code, out
        self.error = err.removeprefix("error: ").removesuffix("\n")
        assert bool(err) == bool(code), "a line on STDERR if and only if it failed"
        assert not err or re.fullmatch(r"error: .+\n", err), f"not one line: {err!r}"
        assert not (code and out), f"a failure printed {out!r} on STDOUT"

    def failed(self, code: int, *named: str) -> None:
        """It failed with this exit code, and its line has these names."""
        assert (self.code, [name for name in named if name not in self.error]) == (code, []), self.error


Program = Callable[..., Printed]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's: credentials, proxies, ~/.netrc."""
    for name in list(os.environ):
        if name.startswith(("MARATHON_", "DCOS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Program:
    def run(host: str, *flags: str, app: str = "amqp") -> Printed:
        code = marathon_app_hostport.main(["--host", host, "--app", app, *flags])
        return Printed(code, *capfd.readouterr())

    return run


@pytest.fixture
def marathon() -> Iterator[Standin]:
    """A Marathon with one healthy queue on a bridge, `AGENT`."""
    with Standin(queue_world()) as standin:
        yield standin


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """The CA's file and what a server needs."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder, "127.0.0.1")
    return folder / "ca.pem", server_context(folder)


def queue_world() -> World:
    world = World()
    world.put_app(BRIDGE)
    world.add_task("/amqp", ports=(31000, 31001), ip="172.17.0.2", alive=True)
    return world


class TestTheProgram:
    """Started as a user starts it, through its launcher."""

    def run(self, *arguments: str, program: Path = ROOT / "scripts/marathon_app_hostport") -> Printed:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30,
                              env={"PATH": path, "PYTHONPATH": "/nowhere"}, cwd="/")  # fmt: skip
        return Printed(done.returncode, done.stdout, done.stderr)

    def test_prints_the_address_and_nothing_else(self, marathon: Standin) -> None:
        assert self.run("--host", marathon.address, "--app", "amqp").out == AGENT

    def test_works_through_a_link_from_elsewhere(self, marathon: Standin, tmp_path: Path) -> None:
        link = tmp_path / "marathon_app_hostport"
        link.symlink_to(ROOT / "scripts/marathon_app_hostport")
        assert self.run("--host", marathon.address, "--app", "amqp", program=link).out == AGENT

    def test_a_failure_has_its_exit_code(self, marathon: Standin) -> None:
        assert self.run("--host", marathon.address, "--app", "other").code == 1
        assert self.run("--host", "127.0.0.1:1", "--app", "amqp").code == 3

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--app", "amqp"],
            ["--host", "a:1"],
            ["--host", "a:1", "--app", "amqp", "more"],
            ["--host", "a:1", "--app", ""],
            ["--host", "a:1", "--app", "amqp", "--app", "amqp"],
            ["--host", "a:1", "--app", "amqp", "--ca", ""],
            ["--host", "a:1", "--app", "amqp", "--port-index", "-1"],
            ["--host", "a:1", "--app", "amqp", "--port-index", "x"],
            ["--host", "a:1", "--app", "amqp", "--port-index", "0", "--port-name", "amqp"],
            ["--host", "a:1", "--app", "amqp", "--wait", "soon"],
            ["--host", "a:1", "--app", "amqp", "--timeout", "inf"],
            ["--hos", "a:1", "--app", "amqp"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage(self, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
        printed = Printed(marathon_app_hostport.main(arguments), *capfd.readouterr())
        assert printed.code == 64
        assert "--help" in printed.error


class TestAnswers:
    def test_name_the_place_of_the_instance_that_works(self, program: Program) -> None:
        with Standin(queue_world()) as marathon:
            ill = marathon.world.add_task("/amqp", host="wrong", ports=(1, 2), alive=False)
            ill.results.append(None)
            marathon.world.add_task("/amqp", host="wrong", state="TASK_STAGING")
            assert program(marathon.address).out == AGENT
            assert program(marathon.address, "--port-index", "1").out == "agent1:31001\n"
            assert program(marathon.address, "--port-name", "management").out == "agent1:31001\n"

    def test_to_an_id_in_a_group(self, program: Program, marathon: Standin) -> None:
        marathon.world.put_app({"id": "/prod/eu/amqp"})
        marathon.world.add_task("/prod/eu/amqp", host="agent2", ports=(31002,))
        assert program(marathon.address, app="prod/eu/amqp").out == "agent2:31002\n"

    @pytest.mark.parametrize("app", ["prod/*", "my_queue", "AMQP", "amqp/tasks", "/"])
    def test_what_is_no_id_is_never_asked_for(self, program: Program, marathon: Standin, app: str) -> None:
        assert "is not an app id" in program(marathon.address, app=app).error
        assert marathon.requests == []

    def test_are_asked_for_as_json(self, program: Program, marathon: Standin) -> None:
        """Some Marathons answer with text otherwise."""
        program(marathon.address)
        assert [request.headers["accept"] for request in marathon.requests] == ["application/json"]


class TestNoInstance:
    def test_no_such_app(self, program: Program, marathon: Standin) -> None:
        """The id is looked up as a whole, and what is like it is told."""
        printed = program(marathon.address, app="mqp")
        printed.failed(1, "'/mqp'", "/amqp", marathon.url)

    def test_no_such_app_and_none_like_it(self, program: Program, marathon: Standin) -> None:
        assert "App '/x/other' does not exist; deploy it first" in program(marathon.address, app="x/other").error

    def test_staged_with_a_failure_and_the_reason_of_the_queue(self, program: Program, marathon: Standin) -> None:
        world = marathon.world
        world.put_app(BRIDGE | {"id": "/big", "mem": 10**6})
        world.add_task("/big", state="TASK_STAGING", host=None)
        world.fail("/big", "Container exited with status 1")
        refused = [{"reason": "InsufficientMemory", "declined": 3, "processed": 3}]
        summary = {"processedOffersCount": 3, "rejectSummaryLastOffers": refused}
        delay = {"timeLeftSeconds": 0, "overdue": True}
        world.queue.append({"app": {"id": "/big"}, "count": 1, "delay": delay, "processedOffersSummary": summary})
        told = ("/big", "1 staging", "agent1: Container exited with status 1", "3 of 3 offers", marathon.url)
        program(marathon.address, app="big").failed(1, *told)

    def test_a_queue_that_is_not_told_hides_nothing(self, program: Program, marathon: Standin) -> None:
        marathon.world.put_app({"id": "/idle"})
        marathon.filters.append(lambda request: filters.forbidden(request) if request.path == "/v2/queue" else None)
        assert "app /idle has no running instance: none has been started" in program(marathon.address, app="idle").error


class TestWaiting:
    def test_ends_when_the_app_is_healthy(self, program: Program, marathon: Standin) -> None:
        task = marathon.world.apps["/amqp"].tasks[0]
        healthy, task.results = task.results, []
        asked = Event()
        marathon.filters.append(lambda request: asked.set())

        def recover() -> None:
            asked.wait(60)
            task.results = healthy

        Thread(target=recover, daemon=True).start()
        assert program(marathon.address, "--wait", "60").out == AGENT
        assert len(marathon.requests) >= 1

    def test_covers_an_app_and_a_marathon_that_are_not_there_yet(self, program: Program) -> None:
        world, asked = World(), Event()
        states: list[filters.Filter] = [filters.no_leader, lambda request: asked.set()]
        with Standin(world, filters=[lambda request: states.pop(0)(request) if states else None]) as marathon:

            def deploy() -> None:
                asked.wait(60)
                world.put_app({"id": "/amqp"})
                world.add_task("/amqp", ports=(31000,))

            Thread(target=deploy, daemon=True).start()
            assert program(marathon.address, "--wait", "60").out == AGENT
            assert len(marathon.requests) >= 3

    def test_has_an_end_and_tells_the_last_state(self, program: Program, marathon: Standin) -> None:
        marathon.world.apps["/amqp"].tasks[0].state = "TASK_KILLING"
        begun = time.monotonic()
        printed = program(marathon.address, "--wait", "0.7")
        assert 0.7 <= time.monotonic() - begun < 30
        assert printed.code == 1
        assert "1 killing" in printed.error

    def test_is_not_for_what_does_not_pass(self, program: Program, marathon: Standin) -> None:
        begun = time.monotonic()
        assert program(marathon.address, "--wait", "60", "--port-index", "7").code == 1
        assert program(marathon.address, "--wait", "60", app="A B").code == 1
        assert time.monotonic() - begun < 60

    def test_tells_once_why(self, marathon: Standin) -> None:
        marathon.world.apps["/amqp"].tasks.clear()
        told: list[str] = []
        with pytest.raises(Exception, match="no running instance"):
            discover(marathon.address, "amqp", wait_s=1.2, waiting=told.append, environ={})
        assert told == ["app /amqp has no running instance: none has been started"]


class TestSeveralAddresses:
    def test_the_first_that_answers(self, program: Program, marathon: Standin) -> None:
        assert program(f"127.0.0.1:1,{marathon.address}").out == AGENT

    @pytest.mark.parametrize("status", [502, 503, 504])
    def test_one_that_knows_no_leader_or_is_a_proxy_to_nowhere(
        self, program: Program, marathon: Standin, status: int
    ) -> None:
        with Standin(filters=[filters.html(status, "Too many concurrent requests!")]) as away:
            assert program(f"{away.address},{marathon.address}").out == AGENT
            program(away.address).failed(3, f"{away.url}: {status} ")

    def test_one_that_proxies_to_the_leader(self, program: Program, marathon: Standin) -> None:
        with Standin(marathon.world) as follower:
            assert program(f"{follower.address},{marathon.address}").out == AGENT
            assert marathon.requests == []

    def test_one_that_is_silent(self, program: Program, marathon: Standin) -> None:
        with wire.serving(wire.silence) as silent:
            assert program(f"{silent},{marathon.address}", "--timeout", "3").out == AGENT

    def test_one_that_is_no_marathon(self, program: Program, marathon: Standin) -> None:
        with Standin(filters=[filters.html(200, "It works!")]) as other:
            assert program(f"{other.address},{marathon.address}").out == AGENT

    def test_a_refusal_is_an_answer(self, program: Program, marathon: Standin) -> None:
        with Standin(filters=[filters.forbidden]) as strict:
            assert "Not Authorized" in program(f"{strict.address},{marathon.address}").error
            assert marathon.requests == []

    def test_none_of_them(self, program: Program) -> None:
        with Standin(filters=[filters.no_leader]) as away:
            program(f"127.0.0.1:1,{away.address}").failed(
                3, "127.0.0.1:1: connection refused; ", f"{away.address}: 502 Bad Gateway"
            )

    def test_when_waiting_who_answered_is_asked_first(self, marathon: Standin) -> None:
        marathon.world.apps["/amqp"].tasks.clear()
        with Standin(filters=[filters.no_leader]) as away:
            with pytest.raises(Exception, match="no running instance"):
                discover(f"{away.address},{marathon.address}", "amqp", wait_s=3, environ={})
            assert len(away.requests) == 1
            assert len(marathon.requests) > 2


class TestNoMarathon:
    @pytest.mark.parametrize("status", [200, 404, 400, 500])
    def test_a_web_page(self, program: Program, status: int) -> None:
        with Standin(filters=[filters.html(status, "Welcome to the proxy")]) as proxy:
            printed = program(proxy.address)
            printed.failed(1, proxy.url, f" {status} ", "HTML")
            assert "<" not in printed.error

    @pytest.mark.parametrize(
        ("status", "body", "words"),
        [
            (200, b'{"app": null}', "other JSON"),
            (200, b'{"*": []}', "other JSON"),
            (200, b"[]", "other JSON"),
            (200, b"pong", "no JSON"),
            (200, b"", "no JSON"),
            (200, b"[" * 100_000, "no JSON"),
            (200, b"\xff\xfe", "no JSON"),
            (404, b"404 page not found\n", "no JSON"),
            (404, b'{"error":"Object Not Found","reason":"Not Found"}', "other JSON"),
            (404, b'{"status":404,"message":"No message available"}', "other JSON"),
            (204, b"", "no JSON"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_another_service(self, program: Program, status: int, body: bytes, words: str) -> None:
        with Standin(filters=[lambda request: Response(status, body)]) as other:
            program(other.address).failed(1, "is not Marathon", words)

    @pytest.mark.parametrize("status", [404, 500])
    def test_a_marathon_at_another_path(self, program: Program, status: int) -> None:
        """An unknown URL is a 500 in new versions and in old ones a 404, which is not "no such app"."""
        with Standin(filters=[lambda request: message(status, "URI not found")]) as marathon:
            program(f"{marathon.url}/marathon").failed(1, "/marathon/v2/apps/amqp")

    @pytest.mark.parametrize(
        ("conduct", "code", "words"),
        [
            (wire.saying(b"AMQP\x00\x00\x09\x01"), 1, "does not speak HTTP"),
            (wire.saying(b""), 3, "closed the connection without an answer"),
            (wire.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), 3, "connection broke"),
            (wire.silence, 3, "no answer within 0.3 s"),
            (wire.trickle, 3, "no answer within 0.3 s"),
            (wire.trickle_headers, 3, "no answer within 0.3 s"),
        ],
        ids=["another protocol", "nothing", "half an answer", "silence", "a trickle", "a trickle of headers"],
    )
    def test_no_http(self, program: Program, conduct: wire.Conduct, code: int, words: str) -> None:
        with wire.serving(conduct) as place:
            begun = time.monotonic()
            printed = program(place, "--timeout", "0.3")
            assert time.monotonic() - begun < 30
            assert printed.code == code
            assert words in printed.error

    @pytest.mark.parametrize(
        ("host", "words"),
        [
            ("127.0.0.1:1", "connection refused; check the address"),
            ("no-such-host.invalid:8080", "no such host name"),
            ("a..b:8080", "no such host name"),
        ],
    )
    def test_nobody(self, program: Program, host: str, words: str) -> None:
        program(host).failed(3, words)

    def test_a_marathon_that_fails_tells_why(self, program: Program) -> None:
        with Standin(filters=[lambda request: message(500, "Boom\nand more")]) as marathon:
            program(marathon.address).failed(1, "500 ", "Boom and more")


class TestCredentials:
    @pytest.fixture
    def guarded(self, marathon: Standin) -> Standin:
        marathon.filters.append(filters.basic_auth("me", PASSWORD))
        return marathon

    @pytest.fixture
    def password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MARATHON_USER", "me")
        monkeypatch.setenv("MARATHON_PASSWORD", PASSWORD)

    @pytest.mark.usefixtures("password")
    def test_user_and_password(self, program: Program, guarded: Standin) -> None:
        assert program(guarded.address).out == AGENT

    def test_a_dcos_token_and_the_path_of_a_service(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DCOS_ACS_TOKEN", TOKEN)
        with Standin(queue_world(), filters=[filters.dcos_token(TOKEN)], prefix="/service/marathon") as dcos:
            assert program(dcos.url).out == AGENT
            assert program(dcos.url + "/").out == AGENT

    def test_missing_ones_are_asked_for(self, program: Program, guarded: Standin) -> None:
        program(guarded.address).failed(1, "401 ", "MARATHON_USER")

    def test_wrong_ones(self, program: Program, guarded: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MARATHON_USER", "me")
        monkeypatch.setenv("MARATHON_PASSWORD", "a-wrong-one")
        printed = program(guarded.address)
        assert "it refuses the credentials of the environment" in printed.error
        assert "a-wrong-one" not in printed.error

    def test_a_netrc_does_not_replace_them(
        self, program: Program, guarded: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
        monkeypatch.setenv("MARATHON_USER", "me")
        monkeypatch.setenv("MARATHON_PASSWORD", PASSWORD)
        assert program(guarded.address).out == AGENT

    @pytest.mark.usefixtures("password")
    def test_in_an_address_are_refused_and_not_repeated(self, program: Program, marathon: Standin) -> None:
        printed = program(f"http://me:{PASSWORD.split()[0]}@{marathon.address}")
        assert PASSWORD.split()[0] not in printed.error
        assert marathon.requests == []

    @pytest.mark.usefixtures("password")
    def test_do_not_follow_a_redirect_to_another_server(self, program: Program, tmp_path: Path) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
        with Standin(queue_world()) as other, Standin(filters=[filters.redirect(other.url)]) as first:
            assert program(first.address).out == AGENT
            assert "authorization" in first.requests[0].headers
            assert "authorization" not in other.requests[0].headers

    @pytest.mark.usefixtures("password")
    def test_follow_a_redirect_to_an_address_that_is_given(self, program: Program, guarded: Standin) -> None:
        with Standin(filters=[filters.redirect(guarded.url)]) as follower:
            assert program(f"{follower.address},{guarded.address}").out == AGENT
            printed = program(follower.address)
            assert f"{guarded.url}: 401 Unauthorized: a redirect led here" in printed.error


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_to_the_leader(self, program: Program, marathon: Standin, status: int) -> None:
        with Standin(filters=[filters.redirect(marathon.url, status)]) as follower:
            assert program(follower.address).out == AGENT

    def test_to_a_login_page(self, program: Program) -> None:
        with (
            Standin(filters=[filters.html(200, "Please log in")]) as login,
            Standin(filters=[filters.redirect(login.url)]) as proxy,
        ):
            assert f"{login.url} is not Marathon" in program(proxy.address).error

    @pytest.mark.parametrize(
        ("target", "words"),
        [("", "redirects without end"), ("file:///etc", "no http address"), ("http://[", "no http address")],
    )
    def test_to_nowhere(self, program: Program, target: str, words: str) -> None:
        with Standin() as marathon:
            marathon.filters.append(filters.redirect(target))
            program(marathon.address).failed(1, words)


class TestHttps:
    @pytest.fixture
    def ca(self, tls: tuple[Path, ssl.SSLContext]) -> str:
        return str(tls[0])

    @pytest.fixture
    def secure(self, tls: tuple[Path, ssl.SSLContext]) -> Iterator[Standin]:
        with Standin(queue_world(), tls=tls[1]) as standin:
            yield standin

    def test_with_a_ca_file(self, program: Program, secure: Standin, ca: str) -> None:
        assert program(secure.url, "--ca", ca).out == AGENT

    def test_with_a_ca_file_of_the_environment(
        self, program: Program, secure: Standin, ca: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MARATHON_CA_FILE", ca)
        assert program(secure.url).out == AGENT

    def test_without_the_ca_file(self, program: Program, secure: Standin) -> None:
        program(secure.url).failed(1, "certificate")
        assert secure.requests == []

    def test_for_another_name(self, program: Program, secure: Standin, ca: str) -> None:
        program(secure.url.replace("127.0.0.1", "localhost"), "--ca", ca).failed(1, "certificate")

    def test_from_one_who_speaks_http(self, program: Program, marathon: Standin) -> None:
        assert "is it http instead of https?" in program(marathon.url.replace("http", "https")).error

    def test_is_not_left_by_a_redirect(self, program: Program, secure: Standin, marathon: Standin, ca: str) -> None:
        secure.filters.append(filters.redirect(marathon.url))
        assert f"redirects to {marathon.url}, which anyone could answer" in program(secure.url, "--ca", ca).error
        assert marathon.requests == []


def test_the_worker_gets_an_address_or_a_service_that_is_away(marathon: Standin) -> None:
    found = discover(marathon.address, "amqp", environ={})
    assert (found.host, found.port) == ("agent1", 31000)
    with pytest.raises(ServiceAway):
        discover("127.0.0.1:1", "amqp", environ={})


def test_a_failure_is_its_own_and_not_the_callers() -> None:
    """A worker asks because it lost something, and may still be busy with that."""
    try:
        raise OSError(5, "something else")
    except OSError:
        with pytest.raises(ServiceAway, match="connection refused"):
            discover("127.0.0.1:1", "amqp", environ={})


def test_a_worker_with_a_fixed_broker_does_not_load_requests() -> None:
    """It is a quarter of the worker's memory."""
    check = "import sys, scripts.marathon.discovery; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0

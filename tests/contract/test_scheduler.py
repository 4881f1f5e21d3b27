"""What every scheduler promises (the docstrings of `cluster.schedulers.Scheduler`), tried with real apps."""

import json
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cluster import schedulers
from cluster.apps.app import HealthCheck, Instance, Port, Volume
from cluster.credentials import SecretFile
from cluster.schedulers import FINISHING, DeployOptions
from cluster.settings import ROOT
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from tests.contract.conftest import IMAGE, offered_by
from tests.deploying import deploy, restart, rollback, scale
from tests.ports import free_port
from tests.waiting import until

CLOCK_S = 1  # how far the clocks that starts are read from may be apart

# An app that writes down each of its starts, says that it is ready, and waits.
WAITS = 'echo "$MESOS_TASK_ID" >>"$SHARED/starts"; touch "$SHARED/ready"; exec sleep 1000'
READY = 'test -e "$SHARED/ready"'

# An app that needs a second for the end of its work after TERM.
FINISHES = (
    'trap \'sleep 1; echo yes >"$SHARED/finished"; exit 0\' TERM; touch "$SHARED/ready"; while :; do sleep 0.1; done'
)

# A server on the host's own network, which greets.
SERVER = (
    "exec perl -MIO::Socket::INET -e '"
    '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ENV{PORT0}, Listen => 5, ReuseAddr => 1) '
    'or die "port $ENV{PORT0}: $!"; while ($c = $s->accept) { print $c "hello $ENV{MESOS_TASK_ID}"; close $c }\''
)
LISTENS = "perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => \"127.0.0.1:$ENV{PORT0}\")'"


def starts(shared: Path) -> list[str]:
    """The names of the instances that were started, in order."""
    path = shared / "starts"
    return path.read_text().split() if path.exists() else []


def greeting(address: HostPort) -> str:
    with socket.create_connection((address.host, address.port), timeout=20) as connection:
        return connection.recv(100).decode()


def test_plan_says_what_deploy_would_do_and_changes_nothing(scheduler, make_app, shared):
    app = make_app(WAITS, check=READY)
    change = scheduler.plan(app)
    assert (change.app, change.kind, change.differences) == (app, "create", ())
    assert change.sent
    assert scheduler.status() == []
    assert not (shared / "starts").exists()

    deploy(scheduler, app)
    assert scheduler.plan(app).kind == "nothing"
    assert scheduler.plan(replace(app, instances=3)).kind == "scale"
    other = scheduler.plan(make_app(WAITS, check=READY, env={"A": "1"}))
    assert (other.kind, other.differences) == ("replace", ('env.A: nothing -> "1"',))
    assert len(starts(shared)) == 1


def test_deploy_returns_when_all_works(scheduler, make_app, shared):
    slow = f"sleep 1.5; {WAITS}"
    status = deploy(scheduler, make_app(slow, check=READY, instances=2))
    assert (shared / "ready").exists()
    assert (status.id, status.running) == ("/app", 2)
    assert [instance.state for instance in status.instances] == ["running", "running"]
    assert scheduler.status() == [status]


def test_deploy_without_a_health_check_returns_when_it_runs(scheduler, make_app):
    assert deploy(scheduler, make_app("exec sleep 1000")).running == 1


def test_deploying_what_runs_changes_nothing(scheduler, make_app, shared):
    app = make_app(WAITS, check=READY)
    assert deploy(scheduler, app) == deploy(scheduler, app)
    assert len(starts(shared)) == 1


def test_deploying_another_definition_replaces_what_runs(scheduler, make_app, shared):
    deploy(scheduler, make_app(FINISHES, check=READY))
    status = deploy(scheduler, make_app(WAITS, check=READY))
    assert (shared / "finished").exists()
    assert (status.running, len(status.instances)) == (1, 1)
    until(lambda: len(starts(shared)) == 1)


@offered_by("local", "process", "slurm")  # Marathon starts another, whose failures are told (test_marathon_deploy.py)
def test_what_ends_right_away_is_an_error_with_its_exit_code_and_last_lines(scheduler, make_app):
    began = time.monotonic()
    with pytest.raises(ClusterError) as failure:
        deploy(scheduler, make_app("echo no luck; exit 3", check="false"), timeout_s=600)
    assert time.monotonic() - began < 60
    first, *lines = str(failure.value).splitlines()
    assert re.fullmatch(r"deploy /app: .*-app-[0-9_]+ ended with exit code 3.*; 0 of 1 instances run now\. .*", first)
    assert lines == ["  no luck"]
    (app,) = scheduler.status()
    assert (app.running, app.instances[0].state) == (0, "stopped")
    assert "exit code 3" in app.instances[0].detail
    assert list(scheduler.logs("/app")) == [f"{app.instances[0].name}: no luck"]


@pytest.mark.usefixtures("ends_in_time")
def test_what_ends_right_away_without_an_error_is_an_error_too(scheduler, make_app):
    words = "none stayed up" if scheduler.name == "marathon" else "ended with exit code 0"
    with pytest.raises(ClusterError, match=words):
        deploy(scheduler, make_app("echo and that is all"), timeout_s=60)
    assert {line.partition(": ")[2] for line in scheduler.logs("/app")} == {"and that is all"}


@pytest.mark.usefixtures("ends_in_time")
def test_after_a_failed_deploy_the_next_one_works(scheduler, make_app):
    with pytest.raises(ClusterError):
        deploy(scheduler, make_app("exit 3"))
    assert deploy(scheduler, make_app(WAITS, check=READY)).running == 1


def test_what_does_not_come_up_in_time_is_an_error_and_the_next_deploy_waits_for_it(scheduler, make_app, shared):
    app = make_app('echo "$$" >>"$SHARED/starts"; echo warming up; exec sleep 1000', check=READY)
    words = r"(?s)-app-\S+ does not work after 4 s.* 0 of 1 .*\n  warming up$"
    if scheduler.name == "marathon":
        words = r"deploy /app: not done after 4 s: .*0 of 1 instances up, 1 not healthy yet"
    with pytest.raises(ClusterError, match=words):
        deploy(scheduler, app, timeout_s=4)
    assert scheduler.status()[0].instances[0].state in ("starting", "unhealthy")
    (shared / "ready").touch()
    assert deploy(scheduler, app).running == 1
    assert len(starts(shared)) == 1


DEPLOYS = """
import json, sys
from dataclasses import replace
from pathlib import Path
from cluster.apps.app import AppSpec
from cluster.schedulers.selection import Choice, connect
from cluster.schedulers.process import scheduler
from tests.conftest import SETTINGS
from tests.deploying import deploy
name, project, run, app = sys.argv[1:]
scheduler.RUN = Path(run)
deploy(connect(replace(SETTINGS, project=project), Choice(name), print), AppSpec.from_json(json.loads(app)))
"""


@offered_by("local", "process")  # Marathon goes on by itself, and locks the app (test_marathon_deploy.py)
def test_a_deploy_that_was_killed_halfway_is_picked_up_by_the_next(make_scheduler, make_app, shared, tmp_path):
    project = f"test-{secrets.token_hex(4)}"
    scheduler = make_scheduler(project)
    old, new = make_app(WAITS, check=READY, instances=2), make_app(WAITS, check=READY, instances=2, env={"NEW": "1"})
    deploy(scheduler, old)
    (shared / "ready").unlink()
    slow = replace(new, command="sleep 3; exec sleep 1000")
    words = [scheduler.name, project, str(tmp_path / "run"), json.dumps(slow.as_json())]
    with subprocess.Popen([sys.executable, "-c", DEPLOYS, *words], cwd=ROOT) as halfway:
        try:
            until(lambda: scheduler.plan(old).kind != "nothing" and scheduler.status())
        finally:
            halfway.kill()
    status = deploy(scheduler, new)
    assert (status.running, len(status.instances)) == (2, 2)
    assert scheduler.plan(new).kind == "nothing"


def test_of_two_deploys_at_once_none_breaks_anything(make_scheduler, make_app):
    scheduler = make_scheduler()
    app, errors = make_app(WAITS, check=READY), []

    def deploy_too() -> None:
        try:
            deploy(scheduler, app)
        except ClusterError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=deploy_too) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) <= 1
    assert all("/app" in error for error in errors)
    assert deploy(scheduler, app).running == 1


@pytest.mark.parametrize("instances", [0, -1])
def test_no_instances_are_refused(scheduler, make_app, instances):
    with pytest.raises(ClusterError, match=f"^/app: .*{instances}"):
        deploy(scheduler, make_app(WAITS, instances=instances))


def test_a_definition_that_cannot_be_run_is_refused_and_what_runs_stays(scheduler, make_app, shared):
    deploy(scheduler, make_app(WAITS, check=READY))
    wrong, named = {"unheld": {"residency.x": 1}}, r"residency\.x"
    if scheduler.name == "marathon":
        wrong, named = {"native": {"constraints": [["hostname", "NEAR"]]}}, "422 .*: /constraints"
    with pytest.raises(ClusterError, match=f"^/app.*{named}"):
        deploy(scheduler, make_app(WAITS, check=READY, **wrong))
    assert (scheduler.status()[0].running, len(starts(shared))) == (1, 1)


def test_the_workers_of_another_queue_are_not_replaced(scheduler, make_app, shared):
    deploy(scheduler, make_app(WAITS, check=READY, env={"QUEUE_NAME": "a_b"}))
    with pytest.raises(ClusterError, match=r"^/app .*'a_b'.*'a-b'"):
        deploy(scheduler, make_app(WAITS, check=READY, env={"QUEUE_NAME": "a-b"}))
    assert (scheduler.status()[0].running, len(starts(shared))) == (1, 1)


def test_scale_up_and_down_leaves_the_others_in_peace(scheduler, make_app, shared):
    deploy(scheduler, make_app(WAITS, check=READY))
    up = scale(scheduler, "/app", 3)
    names = [instance.name for instance in up.instances]
    assert (up.running, len(set(names))) == (3, 3)
    until(lambda: len(starts(shared)) == 3)  # READY is one for all instances
    down = scale(scheduler, "/app", 2)
    left = [instance.name for instance in down.instances]
    # Two that started together are equally young, and a cluster may stop either.
    assert left == names[:2] or (scheduler.name == "marathon" and left == [names[0], names[2]])
    assert down.running == 2
    until(lambda: len(starts(shared)) == 3)  # READY is one for all instances


def test_scale_to_nothing_and_of_nothing_is_refused(scheduler, make_app):
    with pytest.raises(ClusterError, match=r"^/app "):
        scale(scheduler, "/app", 2)
    deploy(scheduler, make_app(WAITS, check=READY))
    with pytest.raises(ClusterError):
        scale(scheduler, "/app", 0)
    assert scheduler.status()[0].running == 1


def test_restart_starts_every_instance_anew(scheduler, make_app, shared):
    app = make_app(WAITS, check=READY, instances=2)
    deploy(scheduler, app)
    assert restart(scheduler, "/app").running == 2
    until(lambda: len(starts(shared)) == 4)
    assert scheduler.plan(app).kind == "nothing"
    with pytest.raises(ClusterError, match=r"^/other "):
        restart(scheduler, "/other")


def test_stop_lets_a_running_action_finish(scheduler, make_app, shared):
    deploy(scheduler, make_app(FINISHES, check=READY))
    assert scheduler.stop("/app") is True
    assert (shared / "finished").exists()
    assert scheduler.status() == []
    assert scheduler.stop("/app") is False


def test_stop_now_does_not_wait(scheduler, make_app, shared):
    deploy(scheduler, make_app(FINISHES, check=READY))
    assert scheduler.stop("/app", now=True) is True
    time.sleep(1.5)  # as long as it would have needed, and more
    assert not (shared / "finished").exists()


# A worker whose action needs 3 s when it is to stop, by TERM or as `Worker.hold` says.
NEEDS_LONGER = (
    'name() { printf %s "$1" >/proc/$$/comm; }; work() { sleep 3; echo yes >>"$SHARED/finished"; }; '
    "trap 'hold=yes' URG; trap 'test -n \"$hold\" || work; exit 0' TERM; "
    'touch "$SHARED/ready"; until test -n "$hold"; do sleep 0.1; done; '
    "name draining; work; name drained; while :; do sleep 0.1; done"
)


@pytest.mark.parametrize("change", ["stop", "restart", "deploy", "scale"])
def test_what_runs_may_take_longer_for_us_than_for_others(scheduler, make_app, shared, change):
    labels = {"drain": "120"}
    one = make_app(NEEDS_LONGER, check=READY, kill_grace_s=1, labels=labels, instances=2)
    changes = {
        "stop": lambda: scheduler.stop("/app"),
        "restart": lambda: restart(scheduler, "/app"),
        "deploy": lambda: deploy(scheduler, one.with_env({"A": "1"})),
        "scale": lambda: scale(scheduler, "/app", 1),
    }
    deploy(scheduler, one)
    changes[change]()
    assert (shared / "finished").read_text().split() == ["yes"] * (1 if change == "scale" else 2)


def test_stop_does_not_wait_longer_than_the_grace(scheduler, make_app):
    stubborn = "trap '' TERM; touch \"$SHARED/ready\"; while :; do sleep 0.1; done"
    deploy(scheduler, make_app(stubborn, check=READY, kill_grace_s=1))
    began = time.monotonic()
    scheduler.stop("/app")
    assert 1 <= time.monotonic() - began < 30


def test_a_wait_that_takes_its_time_is_told(scheduler, make_app, said, monkeypatch):
    monkeypatch.setattr(schedulers, "SILENCE_S", 0.3)
    name = deploy(scheduler, make_app(FINISHES, check=READY)).instances[0].name
    scheduler.stop("/app")
    assert f"waiting for {name} to finish, 30 s at most (--now does not wait)" in said


def test_stop_takes_what_the_app_has_started_along(scheduler, make_app, shared):
    seconds = f"54321.{secrets.randbelow(10**9)}"  # no other process's
    forks = f"setsid sleep {seconds} & setsid sh -c 'sleep {seconds}' & {WAITS}"
    deploy(scheduler, make_app(forks, check=READY))

    def sleepers() -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", seconds]]

    until(lambda: len(sleepers()) == 2)
    scheduler.stop("/app")
    until(lambda: not sleepers())


def test_status_has_all_apps_with_their_instances(scheduler, make_app):
    assert scheduler.status() == []
    one = deploy(scheduler, make_app("exec sleep 1000", "/one"))
    two = deploy(scheduler, make_app("exec sleep 1000", "/group/two", instances=2))
    assert scheduler.status() == [two, one]
    assert len({instance.name for instance in two.instances}) == 2
    assert all("group" in instance.name and "two" in instance.name for instance in two.instances)


def test_status_has_the_app_itself_and_what_a_person_called_its_image(scheduler, make_app):
    app = make_app("exec sleep 1000", labels={"tag": "worker:v7"}, instances=2)
    deploy(scheduler, app)
    (found,) = scheduler.status()
    assert (found.id, found.tag, found.spec.command, found.spec.instances) == ("/app", "worker:v7", app.command, 2)
    image = "" if scheduler.name == "process" else IMAGE
    assert all(instance.image == image for instance in found.instances)
    shown = json.loads(json.dumps(found.as_json(), default=str))
    assert set(shown) == {"id", "tag", "instances"}
    assert "SHARED" not in json.dumps(shown)  # its environment


def test_an_instance_has_the_start_of_its_present_life(scheduler, make_app):
    def started() -> list[float]:
        return [instance.started_at for instance in scheduler.status()[0].instances]

    began = time.time()
    deploy(scheduler, make_app("exec sleep 1000"))
    (first,) = started()
    assert began - CLOCK_S < first < time.time() + CLOCK_S
    assert started() == [first]
    between = time.time()
    restart(scheduler, "/app")
    (second,) = started()
    assert between - CLOCK_S < second < time.time() + CLOCK_S
    assert second > first


# An app that ends with exit code 7 as soon as it may, once.
ENDS_LATER = 'touch "$SHARED/ready"; echo x >>"$SHARED/starts"; until rm "$SHARED/go"; do sleep 0.1; done; exit 7'


@offered_by("process")
def test_status_shows_what_ended_later_and_it_can_be_restarted(scheduler, make_app, shared):
    deploy(scheduler, make_app(f'test -e "$SHARED/starts" || {{ {ENDS_LATER}; }}; {WAITS}', check=READY))
    (shared / "go").touch()
    until(lambda: scheduler.status()[0].instances[0].state == "stopped")
    assert scheduler.status()[0].instances[0].detail == "ended with exit code 7"
    assert scheduler.status()[0].instances[0].started_at is None
    assert scheduler.status()[0].running == 0
    assert restart(scheduler, "/app").running == 1


@offered_by("local", "marathon", "slurm")
def test_what_ended_later_is_started_again(scheduler, make_app, shared):
    before = deploy(scheduler, make_app(ENDS_LATER, check=READY)).instances[0].started_at
    (shared / "go").touch()
    until(lambda: len(starts(shared)) == 2)
    until(lambda: scheduler.status()[0].running == 1)
    assert scheduler.status()[0].instances[0].started_at > before


def test_status_shows_an_app_that_has_become_unhealthy(scheduler, make_app, shared):
    check = HealthCheck(READY, grace_s=0, interval_s=0.2, failures=1)
    if scheduler.name == "marathon":
        check = replace(check, interval_s=20, failures=1000)  # else it starts another
    deploy(scheduler, make_app(WAITS, health=check))
    (shared / "ready").unlink()
    until(lambda: scheduler.status()[0].instances[0].state == "unhealthy")
    assert scheduler.status()[0].running == 0


# A worker that is told to end, in the middle of an action: it takes nothing more, and says what it does.
DRAINS = (
    'up="$SHARED/ready.$MESOS_TASK_ID"; trap \'printf draining >/proc/$$/comm; rm "$up"; '
    'until test -e "$SHARED/go"; do sleep 0.1; done; exit 0\' TERM; touch "$up"; while :; do sleep 0.1; done'
)


@offered_by(
    "local", "process", "slurm"
)  # only with its feature task_killing Marathon tells of it (test_marathon_app_status.py)
def test_status_shows_what_finishes_its_work_as_stopping(scheduler, make_app, shared):
    def found(state: str) -> list[Instance]:
        return [one for one in scheduler.status()[0].instances if one.state == state]

    app = make_app(DRAINS, check='test -e "$SHARED/ready.$MESOS_TASK_ID"', instances=2)
    deploy(scheduler, app)
    change = threading.Thread(target=scale, args=[scheduler, "/app", 1])
    change.start()
    try:
        (leaving,) = until(lambda: found("stopping"))
        assert FINISHING in leaving.detail
        assert leaving.started_at
        assert scheduler.status()[0].running == 1
        # It is none of the two that are wanted, though it is made as they are.
        assert scheduler.plan(app).kind in ("replace", "scale")
    finally:
        (shared / "go").touch()
        change.join()
    assert [len(found(state)) for state in ("running", "stopping")] == [1, 0]


def test_logs_are_the_last_lines_of_every_instance_with_its_name(scheduler, make_app):
    prints = "seq 1 5; printf 'caf\\303\\251 \\377\\n'; touch \"$SHARED/ready\"; exec sleep 1000"
    status = deploy(scheduler, make_app(prints, check=READY, instances=2))
    names = [instance.name for instance in status.instances]
    until(lambda: len(list(scheduler.logs("/app"))) == 12)
    assert list(scheduler.logs("/app", tail=2)) == [
        f"{name}: {line}" for name in names for line in ("5", "café \ufffd")
    ]
    with pytest.raises(ClusterError, match=r"^/other "):
        list(scheduler.logs("/other"))


def test_logs_are_followed_until_the_app_ends(scheduler, make_app, shared):
    talks = 'echo begin; until test -e "$SHARED/more"; do sleep 0.1; done; echo more; exec sleep 1000'
    status = deploy(scheduler, make_app(talks, instances=2))
    names = {instance.name for instance in status.instances}
    lines = scheduler.logs("/app", tail=1, follow=True)
    assert {next(lines), next(lines)} == {f"{name}: begin" for name in names}
    (shared / "more").touch()
    assert {next(lines), next(lines)} == {f"{name}: more" for name in names}
    stop = threading.Thread(target=scheduler.stop, args=["/app", True])
    stop.start()
    assert [line for line in lines if ": slurmstepd" not in line] == []
    stop.join()


def test_logs_are_those_lines_alone_that_are_wanted_and_so_are_those_to_come(scheduler, make_app, shared):
    talks = 'echo a1; echo a2; seq 200; until test -e "$SHARED/more"; do sleep 0.1; done; echo b; echo a3; sleep 1000'
    status = deploy(scheduler, make_app(talks))
    (name,) = [instance.name for instance in status.instances]
    until(lambda: list(scheduler.logs("/app", tail=1)) == [f"{name}: 200"])

    def wanted(line):
        return line.startswith("a")

    assert list(scheduler.logs("/app", tail=5, wanted=wanted)) == [f"{name}: a1", f"{name}: a2"]
    lines = scheduler.logs("/app", tail=1, follow=True, wanted=wanted)
    assert next(lines) == f"{name}: a2"
    (shared / "more").touch()
    assert next(lines) == f"{name}: a3"
    lines.close()


def test_logs_that_are_followed_can_be_left(scheduler, make_app):
    deploy(scheduler, make_app("echo begin; exec sleep 1000"))
    lines = scheduler.logs("/app", follow=True)
    assert next(lines).endswith(": begin")
    lines.close()


@offered_by("local", "process", "marathon")
def test_address_of_is_the_address_of_a_port(scheduler, make_app):
    ports = (Port("web"), Port())
    status = deploy(scheduler, make_app(SERVER, check=LISTENS, ports=ports))
    address = scheduler.address_of("/app")
    assert address.host == "127.0.0.1"
    assert greeting(address) == f"hello {status.instances[0].name}"
    assert scheduler.address_of("/app", "web") == address
    assert status.instances[0].ports == {"web": address, "1": scheduler.address_of("/app", "1")}
    with pytest.raises(ClusterError, match=r"/app .*'other'.*web.*1"):
        scheduler.address_of("/app", "other")


@offered_by("local", "process", "marathon")
def test_every_instance_gets_ports_of_its_own(scheduler, make_app):
    status = deploy(scheduler, make_app(SERVER, check=LISTENS, instances=2, ports=(Port(),)))
    assert {greeting(instance.ports["0"]) for instance in status.instances} == {
        f"hello {instance.name}" for instance in status.instances
    }


@offered_by("slurm")
def test_ports_that_are_not_there_are_refused_by_name(scheduler, make_app):
    with pytest.raises(ClusterError, match=r"^/app: .*ports"):
        deploy(scheduler, make_app("exec sleep 1000", ports=(Port(),)))
    assert scheduler.status() == []


def test_address_of_what_has_none(scheduler, make_app):
    with pytest.raises(ClusterError, match=r"^/app "):
        scheduler.address_of("/app")
    deploy(scheduler, make_app("exec sleep 1000", ports=()))
    with pytest.raises(ClusterError, match="/app "):
        scheduler.address_of("/app")


@offered_by("local", "process")  # on Marathon, agents offer their ports
def test_a_fixed_port_stays_with_the_app_over_a_replacement(scheduler, make_app):
    port = free_port()
    for env in ({"A": "1"}, {"A": "2"}):
        status = deploy(scheduler, make_app(SERVER, check=LISTENS, env=env, ports=(Port(host=port),)))
        assert greeting(HostPort("127.0.0.1", port)) == f"hello {status.instances[0].name}"
    with pytest.raises(ClusterError, match=str(port)):
        scale(scheduler, "/app", 2)


@offered_by("local", "process")
def test_a_port_in_use_is_found_before_anything_is_stopped(scheduler, make_app, shared):
    deploy(scheduler, make_app(WAITS, check=READY))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"{port} .*{re.escape(psutil.Process().name())}"):
            deploy(scheduler, make_app(WAITS, check=READY, ports=(Port(host=port),)))
    assert (scheduler.status()[0].running, len(starts(shared))) == (1, 1)


# Data: in a container at the path of the definition, else where CLUSTER_DATA_<NAME> says.
COUNTS = 'cd "${CLUSTER_DATA_TRY:-/data}"; echo x >>runs; wc -l <runs >"$SHARED/runs"; exec sleep 1000'
DATA = (Volume("/var/lib/cluster/try", "/data"),)


def has_run(shared: Path, times: int) -> None:
    """Wait until the app has counted so many starts: it is up before it has."""
    path = shared / "runs"
    until(lambda: path.exists() and path.read_text() == f"{times}\n")


@offered_by("local", "process", "slurm")  # of Marathon, data is in folders of the agents, which stay
def test_data_stays_until_it_is_deleted(scheduler, make_app, shared):
    deploy(scheduler, make_app(COUNTS, volumes=DATA))
    has_run(shared, 1)
    deploy(scheduler, make_app(COUNTS, volumes=DATA, env={"A": "1"}))
    has_run(shared, 2)
    with pytest.raises(ClusterError, match="/app"):
        scheduler.delete_data("/app")
    scheduler.stop("/app")
    deploy(scheduler, make_app(COUNTS, volumes=DATA))
    has_run(shared, 3)

    scheduler.stop("/app")
    assert scheduler.delete_data("/other") == []
    assert len(scheduler.delete_data("/app")) == 1
    assert scheduler.delete_data("/app") == []
    deploy(scheduler, make_app(COUNTS, volumes=DATA))
    has_run(shared, 1)


@offered_by("local", "process", "slurm")
def test_the_data_of_all_apps(scheduler, make_app):
    deploy(scheduler, make_app(COUNTS, volumes=DATA))
    with pytest.raises(ClusterError, match="/app"):
        scheduler.delete_data("")
    scheduler.stop("/app")
    assert len(scheduler.delete_data("")) == 1


@offered_by(
    "local", "process", "slurm"
)  # Marathon's ids are everyone's; what is not ours is refused (test_marathon_deploy.py)
def test_two_projects_side_by_side(make_scheduler, make_app, shared):
    ours, others = make_scheduler(), make_scheduler()
    app = make_app(COUNTS, volumes=DATA)
    name = deploy(ours, app).instances[0].name
    has_run(shared, 1)
    (shared / "runs").unlink()
    assert deploy(others, app).instances[0].name != name
    has_run(shared, 1)
    ours.stop("/app")
    ours.delete_data("")
    assert ours.status() == []
    assert others.status()[0].running == 1
    deploy(others, make_app(COUNTS, volumes=DATA, env={"A": "1"}))
    has_run(shared, 2)


def test_the_environment_of_an_instance(scheduler, make_app, shared):
    app = make_app(f'env >"$SHARED/env"; {WAITS}', check=READY, env={"A": "b c", "HOST": "mine"})
    (instance,) = deploy(scheduler, app).instances
    env = environment(shared)
    assert (env["MARATHON_APP_ID"], env["A"], env["HOST"]) == ("/app", "b c", "mine")
    assert env["MESOS_TASK_ID"] == instance.name


@offered_by("local", "process", "marathon")
def test_an_instance_knows_its_port(scheduler, make_app, shared):
    app = make_app(f'env >"$SHARED/env"; {WAITS}', check=READY, ports=(Port(),))
    port = deploy(scheduler, app).instances[0].ports["0"].port
    assert environment(shared)["PORT0"] == str(port)


def environment(shared: Path) -> dict[str, str]:
    """Return the environment that an instance has written down."""
    return dict(line.split("=", 1) for line in (shared / "env").read_text().splitlines() if "=" in line)


@offered_by("local", "process", "slurm")  # Marathon's hosts get secret files over SSH (test_agents.py)
def test_a_secret_file_reaches_the_app_and_stays_with_it(scheduler, make_app, shared):
    copies = f'cat "$SECRET" >"$SHARED/read"; {WAITS}'
    secret = SecretFile("try", "word", b"planted\n", 0, env="SECRET")
    app = make_app(copies, check=READY, secret_files=(secret,))
    change = scheduler.plan(app)
    assert "planted" not in json.dumps(change.sent)
    scheduler.apply(change)
    (shared / "read").unlink()
    assert "planted" not in json.dumps(scheduler.present("/app").as_json())
    restart(scheduler, "/app")
    until((shared / "read").exists)
    assert (shared / "read").read_text() == "planted\n"
    assert scheduler.plan(app).kind == "nothing"


def test_present_is_the_app_as_so_many_instances_run(scheduler, make_app):
    assert scheduler.present("/app") is None
    app = make_app(WAITS, check=READY, instances=2)
    deploy(scheduler, app)
    found = scheduler.present("/app")
    assert (found.command, found.env, found.instances) == (app.command, app.env, 2)
    assert scheduler.plan(found).kind == "nothing"


def test_without_waiting_a_deploy_returns_at_once(scheduler, make_app, shared):
    app, options = make_app(WAITS, check='test -e "$SHARED/go"'), DeployOptions(wait=False)
    scheduler.apply(scheduler.plan(app), options)
    (shared / "go").touch()
    assert deploy(scheduler, app).running == 1
    assert len(starts(shared)) == 1


@offered_by("local", "process")
def test_rollback_is_refused_where_the_engine_keeps_no_versions(scheduler, make_app):
    deploy(scheduler, make_app(WAITS, check=READY))
    with pytest.raises(ClusterError, match=r"^/app "):
        rollback(scheduler, "/app")


@offered_by("marathon", "slurm")
def test_rollback_goes_to_an_earlier_version(scheduler, make_app):
    deploy(scheduler, make_app(WAITS, check=READY))
    deploy(scheduler, make_app(WAITS, check=READY, env={"A": "1"}))
    assert rollback(scheduler, "/app").running == 1
    assert "A" not in scheduler.present("/app").env

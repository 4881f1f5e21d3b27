"""What the scheduler `process` alone does: pids, folders and the environment."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.schedulers import App
from cluster.schedulers.process.scheduler import Process
from cluster.settings import ROOT
from scripts.errors import ClusterError


@pytest.fixture
def where(tmp_path: Path) -> Iterator[Process]:
    scheduler = Process("test", tmp_path)
    yield scheduler
    for app in scheduler.status():
        scheduler.stop(app.id, now=True)


def app(cmd: str = "exec sleep 1000", app_id: str = "/app") -> App:
    return App(app_id, {"id": app_id, "cmd": cmd})


def test_a_process_that_merely_has_the_pid_is_not_ours(where, tmp_path):
    where.deploy(app())
    state = tmp_path / "test" / "app" / "1" / "state.json"
    ours = json.loads(state.read_text())
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        state.write_text(json.dumps(ours | {"pid": stranger.pid, "started": ours["started"] - 1000}))
        assert where.status()[0].instances[0].state == "stopped"
        assert where.stop("/app") is True
        assert stranger.poll() is None
        assert not psutil.pid_exists(ours["pid"])
    finally:
        stranger.kill()
        stranger.wait()


def test_it_runs_on_and_its_exit_code_is_known_after_its_starter_has_gone(where, tmp_path):
    starter = (
        "import pathlib; from cluster.schedulers import App; from cluster.schedulers.process.scheduler import Process\n"
        f"Process('test', pathlib.Path({str(tmp_path)!r})).deploy(App('/app', {app('sleep 2; exit 5').definition!r}))\n"
    )
    subprocess.run([sys.executable, "-c", starter], cwd=ROOT, check=True, timeout=20)
    (instance,) = where.status()[0].instances
    assert instance.state == "running"
    pid = json.loads((tmp_path / "test/app/1/state.json").read_text())["pid"]
    assert os.getsid(pid) == pid  # no terminal's Ctrl-C or hang-up reaches it
    psutil.wait_procs([psutil.Process(pid)], timeout=10)
    assert where.status()[0].instances[0].detail == "ended with exit code 5"


def test_what_was_killed_is_told(where, tmp_path):
    where.deploy(app())
    shell = psutil.Process(json.loads((tmp_path / "test/app/1/state.json").read_text())["pid"])
    shell.kill()
    psutil.wait_procs([shell], timeout=10)
    assert where.status()[0].instances[0].detail == "was killed"


def test_actions_and_launchers_are_on_the_path(where, tmp_path):
    where.deploy(app('echo "$PATH"; echo "$CLUSTER_WORKER_ALIVE_FILE"; exec sleep 1000'))
    path, alive = [line.partition(": ")[2] for line in where.logs("/app")]
    assert path.split(":")[:2] == [str(ROOT / "scripts"), str(ROOT / "components" / "worker" / "scripts")]
    assert alive == str(tmp_path / "test" / "app" / "1" / "alive")


def test_the_environment_that_is_written_down_is_for_its_user_alone(where, tmp_path):
    where.deploy(app())
    folder = tmp_path / "test" / "app" / "1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (App("/app", {"id": "/app", "args": ["x"]}), "/app: cmd is missing"),
        (app(app_id="/data"), "the folder of this name is for data"),
        (app(app_id="/a-b"), "/a/b runs here and uses its folder"),
    ],
)
def test_what_it_cannot_run_is_refused(where, other, error):
    where.deploy(app(app_id="/a/b"))
    with pytest.raises(ClusterError, match=error):
        where.deploy(other)


def test_what_an_app_writes_is_not_taken_for_an_instance(where):
    volumes = [{"containerPath": "/data", "hostPath": "/var/lib/cluster/one"}]
    writes = App("/app", app('cd "$CLUSTER_DATA_ONE"; echo "{" >definition.json; exec sleep 1000').definition)
    where.deploy(App("/app", writes.definition | {"container": {"volumes": volumes}}))
    assert [one.id for one in where.status()] == ["/app"]


def test_a_log_keeps_only_what_its_instance_printed(where):
    where.deploy(app("echo one; exec sleep 1000"))
    where.deploy(app("echo two; exec sleep 1000"))
    assert list(where.logs("/app")) == ["test-app-1: two"]


def test_a_trial_runs_beside_the_app_and_leaves_nothing(where):
    where.deploy(app())
    before = where.status()
    assert where.run_once(app("echo one; command -v cluster_worker; exit 7")) == (
        7, ["one", str(ROOT / "scripts" / "cluster_worker")],
    )  # fmt: skip
    assert where.status() == before
    with pytest.raises(ClusterError, match=r"had not ended after 0\.1 s"):
        where.run_once(app(), timeout_s=0.1)

"""The decisions of Slurm as an engine: what is read of its commands, and what is written for them."""

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.apps.app import AppSpec, HealthCheck
from cluster.schedulers.slurm import code, jobs, reasons
from cluster.schedulers.slurm.jobs import Note, Seen
from cluster.schedulers.slurm.script import Place, head, notice_s, options, time_text
from scripts.errors import ClusterError

PLACE = Place("cluster", "worker-q", "/s/cluster/apps/worker-q", "/s/cluster/code/abc", "/s/cluster/logs/worker-q")
APP = AppSpec("/worker-q", command="exec cluster_worker -q q -- cat", cpus=2, mem_mib=300, instances=3)


def text(*rows: str, files: str = "") -> str:
    """What the command of a look prints."""
    return "".join(f"{row}\n" for row in rows) + "\0" + files


MARK = PLACE.mark


def read(printed: str) -> Seen:
    return Seen.read("cluster", MARK, printed)


def row(job_id: str, state: str, reason: str = "None", app: str = "/worker-q", version: int = 1, node: str = "") -> str:
    name = f"cluster/{app.removeprefix('/')}"
    return f"{job_id}|77|{state}|{node}|{reason}|N/A|{name}|{MARK}app={app};version={version}"


def test_a_look_has_the_jobs_of_each_app_those_that_run_first() -> None:
    seen = read(text(row("12_2", "PENDING", "Priority"), row("12_10", "RUNNING"), row("9_1", "RUNNING"), "other"))
    assert [job.id for job in seen.of("/worker-q")] == ["9_1", "12_10", "12_2"]
    assert seen.of("/other") == []


def test_jobs_of_other_projects_and_folders_and_those_made_by_hand_are_none() -> None:
    foreign = f"1_1|77|RUNNING|n1|None|N/A|mine/worker-q|{MARK}app=/worker-q;version=1"
    elsewhere = "3_1|79|RUNNING|n1|None|N/A|cluster/worker-q|in=00000000;app=/worker-q;version=1"
    by_hand = "2|78|RUNNING|n1|None|N/A|cluster/x|(null)"
    assert read(text(foreign, elsewhere, by_hand)).jobs == ()


def test_a_comment_may_have_what_parts_columns() -> None:
    seen = read(text(f"1_1|77|RUNNING|n1|None|N/A|cluster/x|{MARK}app=/a|b;version=2"))
    assert (seen.jobs[0].app_id, seen.jobs[0].version) == ("/a|b", 2)


def test_a_look_has_what_is_wanted_and_what_jobs_say() -> None:
    wanted = json.dumps({"app": APP.as_json(), "version": 4})
    files = (
        f"apps/worker-q/app.json:{wanted}\napps/worker-q/jobs/12_1:up n1 100 \n"
        "apps/worker-q/jobs/12_2:ended n2 90 3 why it\n"
        "apps/amqp/ports:amqp n1:5000\napps/amqp/ports:management n1:5001\n"
    )
    seen = read(text(row("12_1", "RUNNING"), files=files))
    assert seen.version("/worker-q") == 4
    assert seen.note(seen.jobs[0]) == Note("up", "n1", 100.0, 0, "")
    assert seen.notes["worker-q"]["12_2"] == Note("ended", "n2", 90.0, 3, "why it")
    assert list(seen.lines("/amqp", "ports")) == ["amqp n1:5000", "management n1:5001"]


def test_the_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "my data; echo x"
    (folder / "apps" / "a").mkdir(parents=True)
    (folder / "apps" / "a" / "ports").write_text("amqp n1:5000\n")
    command = f"squeue() {{ :; }}; {jobs.look_command(str(folder))}"
    printed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert list(read(printed).lines("/a", "ports")) == ["amqp n1:5000"]


def test_a_torn_note_is_none() -> None:
    assert Note.read("") is None
    assert Note.read("up n1 soon") is None


@pytest.mark.parametrize(
    ("state", "note", "expected"),
    [
        ("PENDING", None, "waiting"),
        ("SUSPENDED", Note("up", "n", 1, 0, ""), "waiting"),
        ("CONFIGURING", None, "starting"),
        ("RUNNING", None, "starting"),
        ("RUNNING", Note("starting", "n", 1, 0, ""), "starting"),
        ("RUNNING", Note("up", "n", 1, 0, ""), "running"),
        ("RUNNING", Note("ill", "n", 1, 0, "says"), "unhealthy"),
        ("RUNNING", Note("stopping", "n", 1, 0, ""), "stopping"),
        ("COMPLETING", Note("up", "n", 1, 0, ""), "stopping"),
    ],
)
def test_the_state_of_an_instance(state: str, note: Note | None, expected: str) -> None:
    (job,) = read(text(row("3_1", state, "Resources"))).jobs
    found = jobs.instance("cluster", job, note, "code:abc", "")
    assert (found.name, found.state) == ("cluster-worker-q-3_1", expected)
    assert ("Resources" in found.detail) == (state == "PENDING")


def test_what_ended_by_itself_is_told_and_what_was_told_to_is_not() -> None:
    files = (
        "apps/worker-q/jobs/1_1:ended n1 9 0 stopped\napps/worker-q/jobs/1_2:ended n1 9 0 replaced\n"
        "apps/worker-q/jobs/1_3:ended n1 9 127 \napps/worker-q/jobs/1_4:up n1 9 \napps/worker-q/jobs/1_5:up n2 9 \n"
        "apps/worker-q/jobs/1_6:up n1 9 \n"
    )
    rows = [row("1_4", "OUT_OF_MEMORY"), row("1_6", "RUNNING")]
    found = list(jobs.ended("cluster", read(text(*rows, files=files)), "/worker-q"))
    assert [one.name[-3:] for one in found] == ["1_3", "1_4", "1_5"]
    assert "127" in found[0].detail
    assert "--mem-mib" in found[1].detail


@pytest.mark.parametrize("reason", ["InvalidAccount", "PartitionTimeLimit", "(BadConstraints)"])
def test_what_never_starts(reason: str) -> None:
    assert reasons.never_starts(reason)


@pytest.mark.parametrize("reason", ["Priority", "Resources", "None", "ReqNodeNotAvail, UnavailableNodes:n1", "New"])
def test_what_may_start(reason: str) -> None:
    assert not reasons.never_starts(reason)
    assert reason.partition(",")[0] in reasons.why_waiting(reason)


def test_when_slurm_means_to_start_a_job_is_told() -> None:
    assert "2026-11-30 06:15" in reasons.why_waiting("BeginTime", starts="2026-11-30T06:15:45")
    assert "N/A" not in reasons.why_waiting("Priority", starts="N/A")


def test_the_options_of_a_job() -> None:
    app = replace(APP, time_limit_s=5400, engine_options=(("partition", "long"), ("setup", "module load x")))
    found = options(app, PLACE, 7, 120)
    assert {"--job-name=cluster/worker-q", f"--comment={MARK}app=/worker-q;version=7", "--cpus-per-task=2"} <= set(
        found
    )
    assert {"--mem=300M", "--time=0-01:30:00", "--partition=long", "--signal=B:USR1@120"} <= set(found)
    assert not any("setup" in one for one in found)


def test_an_option_of_several_lines_is_refused() -> None:
    with pytest.raises(ClusterError, match="partition"):
        options(replace(APP, engine_options=(("partition", "a\n#SBATCH --x"),)), PLACE, 1, 120)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(60, "0-00:01:00"), (90061, "1-01:01:01"), (86400 * 3, "3-00:00:00"), (0.5, "0-00:00:01")]
)
def test_a_time_limit_as_slurm_writes_it(seconds: float, expected: str) -> None:
    assert time_text(seconds) == expected


def test_workers_hear_of_their_limit_before_an_action_could_reach_it() -> None:
    limited = replace(APP, time_limit_s=3600)
    assert notice_s(limited, 600) > 600
    assert notice_s(limited, None) < 3600 / 2
    assert notice_s(replace(APP, time_limit_s=60), None) + 30 < 60  # Slurm gives it half a minute early
    assert notice_s(APP, None) > 0


def test_a_script_keeps_every_value_as_it_is(tmp_path: Path) -> None:
    odd = 'a\'b "c" $HOME `x` \\ ; é'
    app = replace(APP, health=HealthCheck(f"test {shlex.quote(odd)}"), engine_options=(("setup", odd),))
    first = head(app, PLACE, 1, {"ODD": odd}, command="true", comes_again=odd, is_worker=True, notice=60)
    shown = 'app_environment; printf "%s\\n" "$ODD" "$setup" "$comes_again" "$check" "$stop_signal"'
    printed = subprocess.run(["bash", "-c", f"{first}\n{shown}"], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [odd, odd, odd, f"test {shlex.quote(odd)}", "INT"]


def test_the_code_has_all_that_jobs_run_and_is_the_same_each_time() -> None:
    code.archive.cache_clear()
    first, content = code.archive()
    code.archive.cache_clear()
    assert code.archive()[0] == first
    for name in (b"bin/cluster_worker", b"scripts/cluster_worker.py", b"pika/__init__.py", b"queue/rabbitmq.conf"):
        assert name in content
    assert b".pyc" not in content

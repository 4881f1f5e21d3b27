"""What each component's files must keep: the definitions, the Dockerfiles, RabbitMQ's settings."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.apps import definitions
from cluster.components import ALL, QUEUE, WORKER, Component
from cluster.images import base_image
from cluster.schedulers.docker.body import Task, container_body
from scripts.amqp.queues import CONSUMER_TIMEOUT_MS
from scripts.app_id import canonical_app_id
from tests.standin.rolling import Seen, begin_roll, roll_on

VALUES: dict[str, str | list[str]] = {
    "IMAGE": "localhost:5000/amqp@sha256:" + "0" * 64,
    "TAG": "amqp:v1",
    "QUEUE_HOST": "agent-1",
    "BROKER": ["-u", "amqp://127.0.0.1:5672"],
    "QUEUE": "my queue",
    "ACTION": ["wordcount.sh", "/tmp/out put"],
    "OPTIONS": ["-j", "4"],
}

components = pytest.mark.parametrize("component", ALL, ids=lambda component: component.name)


def filled(component: Component) -> dict[str, Any]:
    return definitions.fill(definitions.load(component.definition), VALUES, component.definition)


def steps(component: Component) -> list[str]:
    """The Dockerfile's instructions, a line each, without comments."""
    lines = [line for line in component.dockerfile.read_text().splitlines() if not line.startswith("#")]
    return [step for step in "\n".join(lines).replace("\\\n", " ").splitlines() if step.strip()]


def health_command(component: Component) -> str:
    check = definitions.read(filled(component)).health
    assert check
    return check.command


@components
def test_a_definition_is_filled_and_runs_on_one_machine(component: Component) -> None:
    definition = filled(component)
    assert "{{" not in json.dumps(definition)
    assert canonical_app_id(definition["id"]) == component.app_id
    app = definitions.read(definition)
    app.refuse_unheld("local")
    body = container_body(Task(app, "test", 1, tuple(range(31000, 31000 + len(app.ports)))))
    assert body["HostConfig"]["Init"] is True
    assert body["Cmd"][1].startswith("exec ")  # else the shell gets SIGTERM, and hands it to nobody


def test_the_words_of_a_worker_reach_it_as_they_are() -> None:
    assert filled(WORKER)["cmd"] == (
        "exec cluster_worker -u amqp://127.0.0.1:5672 -q 'my queue' -j 4 -- wordcount.sh '/tmp/out put'"
    )
    assert filled(WORKER)["env"] == {"QUEUE_NAME": "my queue"}


@components
def test_a_health_check_survives_older_mesos(component: Component) -> None:
    """Before Mesos 1.5 the agent's own shell reads the command once, in double quotes (its docker/executor.cpp)."""
    command = health_command(component)
    assert '"' not in command
    assert "`" not in command
    # What that shell puts in place of a variable of the container must be what the image has.
    seen_outside = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", command)
    assert "$" not in seen_outside


@components
def test_the_definition_and_the_image_check_the_same(component: Component) -> None:
    (check,) = [step for step in steps(component) if step.startswith("HEALTHCHECK")]
    in_image = check.partition("CMD ")[2].replace("${CLUSTER_WORKER_ALIVE_FILE}", "/run/cluster/alive")
    in_definition = health_command(component).removeprefix("IFS=; ")
    assert in_definition.replace("${CLUSTER_WORKER_ALIVE_FILE:-/run/cluster/alive}", "/run/cluster/alive") == in_image


def test_the_queue_is_never_there_twice() -> None:
    definition = filled(QUEUE)
    assert definition["instances"] == 1
    assert definition["upgradeStrategy"] == {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
    assert definition["constraints"] == [["hostname", "CLUSTER", "agent-1"]]


def test_workers_are_replaced_although_none_of_the_old_is_healthy() -> None:
    """Marathon ends none then, so the new must find room beside them."""
    definition = filled(WORKER) | {"instances": 3}
    roll = begin_roll(definition, old := [Seen(name, healthy=False) for name in "abc"])
    assert roll_on(definition, roll, old).launch == 3
    assert roll_on(definition, roll, [*old, Seen("new", healthy=True)]).kill == ("a",)


@components
def test_an_image_is_debian_a_plain_user_and_labelled(component: Component) -> None:
    made = steps(component)
    assert [step for step in made if step.startswith("FROM")] == [f"FROM {base_image.NAME}"]
    users = [step.removeprefix("USER ") for step in made if step.startswith("USER")]
    assert users[-1] not in ("root", "0")
    assert any(step.startswith("ENTRYPOINT") and '"tini"' in step for step in made)
    for label in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{label}=" in component.dockerfile.read_text()


@components
def test_a_dockerfile_needs_no_buildkit_and_no_download(component: Component) -> None:
    text = component.dockerfile.read_text()
    assert not re.search(r"--mount|--chmod|<<|^ADD |curl|wget|pip3? ", text, re.MULTILINE)


def test_r_is_installed_before_anything_that_changes() -> None:
    made = steps(WORKER)
    install = next(index for index, step in enumerate(made) if "r-base-core" in step)
    first_copy = next(index for index, step in enumerate(made) if step.startswith("COPY"))
    assert install < first_copy
    assert [step for step in made if step.startswith(("COPY", "RUN"))][-2].startswith("COPY components/worker/scripts/")
    assert made[-1].startswith("VOLUME")  # what a later step put there would be lost


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{re.escape(name)} = (.+)$", (QUEUE.folder / "rabbitmq.conf").read_text(), re.MULTILINE)
    return str(value)


def test_the_broker_waits_as_long_for_an_acknowledgement_as_the_queues_ask_for() -> None:
    assert int(setting("consumer_timeout")) == CONSUMER_TIMEOUT_MS


def start_arguments(script_name: str, **environ: str) -> dict[str, str]:
    """What RabbitMQ's script of this name sees after it has read rabbitmq-env.conf."""
    shown = '. "$CONF"; echo "$SERVER_START_ARGS"; echo "$ERL_AFLAGS"; echo "$NODENAME"; ulimit -n'
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", shown, f"/usr/lib/rabbitmq/bin/{script_name}"],
        env={"PATH": os.environ["PATH"], "CONF": str(QUEUE.folder / "rabbitmq-env.conf")} | environ,
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    return dict(zip(("start", "erl", "node", "files"), done.stdout.splitlines(), strict=True))


def test_the_memory_that_a_scheduler_gives_goes_first() -> None:
    assert "total_memory_available_override_value 314572800" in start_arguments("x", CLUSTER_MEM_MIB="300")["start"]


def test_only_the_server_writes_the_names_of_queues() -> None:
    assert start_arguments("rabbitmqctl")["erl"] == ""
    assert "dets:sync" in start_arguments("rabbitmq-server", ERL_AFLAGS="+S 1")["erl"]
    assert start_arguments("rabbitmq-server", ERL_AFLAGS="+S 1")["erl"].startswith("+S 1 -eval ")


def test_the_name_of_the_node_and_the_file_limit_do_not_depend_on_the_machine() -> None:
    shown = start_arguments("rabbitmq-server")
    assert shown["node"] == "rabbit@localhost"
    assert int(shown["files"]) <= 65536


def test_an_action_is_executable() -> None:
    frame = WORKER.folder / "scripts" / "cluster_action.r"  # what actions in R are made with, and none itself
    actions = sorted({*(WORKER.folder / "scripts").iterdir()} - {frame})
    assert not os.access(frame, os.X_OK)
    assert [path.name for path in actions if not os.access(path, os.X_OK)] == []
    assert all(path.read_bytes().startswith(b"#!") for path in actions if path.is_file())


def count_words(folder: Path, text: bytes, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [WORKER.folder / "scripts" / "wordcount.sh", folder], input=text,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | environ, capture_output=True, check=False, timeout=10,
    )  # fmt: skip


def test_the_action_in_sh_counts_words(tmp_path: Path) -> None:
    done = count_words(tmp_path, "The end. Über the Ende, über\n".encode(), AMQP_MESSAGE_ID="a/1")
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["wordcount-a_1.tsv"]
    assert (tmp_path / "wordcount-a_1.tsv").read_text() == "the\t2\nüber\t2\nend\t1\nende\t1\n"


def test_the_action_in_sh_tells_a_message_that_no_try_can_help(tmp_path: Path) -> None:
    assert count_words(tmp_path, b"1 2 3").returncode == 65
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "code", "printed"),
    [
        ("2025-01-01 -1.0 3.0", 0, "2025-01-01 -1.0 1.00 3.0 1\n"),
        ("no day", 65, ""),
        ("2025-01-32 1.0", 65, ""),
        ("2025-01-01", 65, ""),
        ("", 65, ""),
    ],
)
def test_the_action_in_python_sums_up_a_day(line: str, code: int, printed: str) -> None:
    action = WORKER.folder / "scripts" / "temperatures.py"
    done = subprocess.run([sys.executable, action], input=line, capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, done.stdout) == (code, printed)
    assert bool(done.stderr) == bool(code)


@pytest.mark.parametrize("component", ALL)
def test_an_app_has_no_powers_gains_none_and_changes_nothing_of_its_image(component: Component) -> None:
    parameters = definitions.load(component.definition)["container"]["docker"]["parameters"]
    given = {one["key"]: one["value"] for one in parameters}
    assert (given["cap-drop"], given["security-opt"], given["read-only"]) == ("ALL", "no-new-privileges", "true")
    assert int(given["pids-limit"]) > 0

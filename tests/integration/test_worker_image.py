"""The worker's image: its user, its actions, its health check, its packages, and what a change rebuilds."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from cluster import credentials
from cluster.apps import definitions
from cluster.apps.app import Image
from cluster.apps.component_apps import Work, worker_app
from cluster.apps.flags import AppOverrides
from cluster.components import WORKER
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import packages
from cluster.operations import selftest
from cluster.queue import login as queue_login
from scripts.amqp.broker import redacted, without_login
from scripts.errors import ClusterError
from tests.conftest import engine_of, missing, own_settings

pytestmark = pytest.mark.engine

EVERY_BYTE = bytes(range(256)) * 4096  # a megabyte


@pytest.fixture(scope="module")
def worker_image(docker_client: Any) -> str:
    ref = selftest.image(WORKER)
    image_build.build(docker_client, WORKER, ref, print)
    return str(ref)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of this machine that the container sees as /tmp."""
    tmp_path.chmod(0o1777)
    return tmp_path


@pytest.fixture
def run(worker_image: str, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a command in a container, as a scheduler does. It prints to files: a busy engine may lose the rest."""
    printed = tmp_path_factory.mktemp("printed")
    printed.chmod(0o1777)
    definition = definitions.load(WORKER.definition)

    def go(*command: str, body: bytes = b"", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        options = [word for name, value in (env or {}).items() for word in ("-e", f"{name}={value}")]
        options += [f"--{one['key']}={one['value']}" for one in definition["container"]["docker"]["parameters"]]
        for name in ("out", "err"):
            (printed / name).unlink(missing_ok=True)
        done = subprocess.run(
            ["docker", "run", "--rm", "-i", "-v", f"{shared}:/tmp", "-v", f"{printed}:/printed", *options,
             "--entrypoint", "/bin/sh", worker_image, "-c", 'exec "$@" >/printed/out 2>/printed/err', "sh", *command],
            input=body, check=False, timeout=60,
        )  # fmt: skip
        out, err = ((printed / name).read_bytes() for name in ("out", "err"))
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    if not shutil.which("docker"):
        missing("the docker command is not here")
    return go


def test_the_action_in_r_leaves_the_message_byte_for_byte(run: Any, shared: Path) -> None:
    done = run("myaction.r", body=EVERY_BYTE, env={"AMQP_MESSAGE_ID": "../one 1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"myaction.r: 1048576 bytes to /tmp/myaction-___one_1.txt \n"
    assert [path.name for path in shared.iterdir()] == ["myaction-___one_1.txt"]
    assert (shared / "myaction-___one_1.txt").read_bytes() == EVERY_BYTE


def test_messages_without_an_id_do_not_share_a_file(run: Any, shared: Path) -> None:
    for _ in range(2):
        assert run("myaction.r", body=b"This is a test message").returncode == 0
    assert [path.read_bytes() for path in shared.iterdir()] == [b"This is a test message"] * 2


def test_a_file_of_an_action_is_readable_by_everybody(run: Any, shared: Path) -> None:
    assert run("wordcount.sh", body=b"one two two", env={"AMQP_MESSAGE_ID": "1"}).returncode == 0
    (result,) = shared.glob("wordcount-1.tsv")
    assert result.stat().st_mode & 0o777 == 0o644
    assert result.read_text() == "two\t2\none\t1\n"


def test_an_action_in_python_runs_too(run: Any) -> None:
    done = run("temperatures.py", body=b"2025-01-01 -1.0 3.0\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"2025-01-01 -1.0 1.00 3.0 1\n", b"")


def test_what_the_worker_needs_is_there(run: Any) -> None:
    for program in ("cluster_worker", "marathon_app_hostport"):
        assert b"usage: " + program.encode() in run(program, "--help").stdout
    assert run("locale", "charmap").stdout == b"UTF-8\n"
    assert run("id", "-u").stdout == b"1000\n"


def test_an_action_gains_no_powers_and_writes_to_its_own_folders_alone(run: Any) -> None:
    assert run("grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/self/status").stdout.split() == [
        b"CapEff:", b"0000000000000000", b"CapBnd:", b"0000000000000000", b"NoNewPrivs:", b"1",
    ]  # fmt: skip
    for folder in ("$HOME", "/var/tmp", "/tmp"):
        assert run("sh", "-c", f"cp /bin/true {folder}/mine && {folder}/mine").returncode == 0, folder
    assert b"Read-only file system" in run("touch", "/opt/cluster/mine").stderr


def test_the_check_wants_a_fresh_file(run: Any, docker_client: Any, worker_image: str) -> None:
    health = definitions.read(definitions.load(WORKER.definition)).health
    assert health
    in_definition = health.command
    in_image = docker_client.images.get(worker_image).attrs["Config"]["Healthcheck"]["Test"][1]
    for check in (in_definition, in_image):
        assert run("sh", "-c", check).returncode == 1
        assert run("sh", "-c", f'touch "$CLUSTER_WORKER_ALIVE_FILE"; {check}').returncode == 0
        assert run("sh", "-c", f'touch -d "2 minutes ago" "$CLUSTER_WORKER_ALIVE_FILE"; {check}').returncode == 1
    elsewhere = {"CLUSTER_WORKER_ALIVE_FILE": "/tmp/a folder"}
    assert run("sh", "-c", f"touch '/tmp/a folder'; {in_definition}", env=elsewhere).returncode == 0


def test_its_user_reads_the_broker_s_password_also_from_a_checkout_below_its_tmp(
    docker_client: Any, worker_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / ".secrets")
    settings = own_settings(Path(tmp_path.anchor, tmp_path.parts[1]))
    engine = engine_of(settings)
    url = "amqp://ann:secret@127.0.0.1:1"
    work = Work.of(settings, queue="any", action="true", url=url)
    app = worker_app(settings, engine, Image(worker_image, "test"), work, ("-u", without_login(url)))
    login = queue_login.given(url)
    assert login
    app = queue_login.for_workers(login, redacted(url)).added_to(app)
    reads = 'test "$(cat "$AMQP_PASSWORD_FILE")" = secret'
    assert engine.run_once(replace(app, command=reads)) == (0, [])


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of what the image is made from, without executable bits and with a strict umask's modes."""
    root = tmp_path / "repo"
    for name in ("scripts", "components"):
        shutil.copytree(WORKER.root / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    return root


def test_a_changed_action_rebuilds_the_end_alone_whatever_its_mode(
    copied: Path, docker_client: Any, worker_image: str
) -> None:
    said: list[str] = []
    action = f"action-{secrets.token_hex(4)}.sh"
    (copied / "components" / "worker" / "scripts" / action).write_text("#!/bin/sh\necho new\n")
    ref = ImageRef("cluster-test-worker", secrets.token_hex(4))
    image_build.build(docker_client, replace(WORKER, root=copied), ref, said.append)
    try:
        assert not [step for step in said if "r-base-core" in step]
        check = f"test $({action}) = new"
        docker_client.containers.run(str(ref), ["-c", check], entrypoint="/bin/sh", remove=True)
        assert docker_client.images.get(str(ref)).attrs["Config"]["Entrypoint"][-1] == "cluster_worker"
    finally:
        docker_client.images.remove(str(ref), force=True)


@pytest.fixture
def built(
    copied: Path, docker_client: Any, worker_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Build the copy with one packages.txt after another, and see what of two packages it has; return its layers."""
    monkeypatch.setattr(packages, "KNOWN", tmp_path / "known")
    ref, ids = ImageRef("cluster-test-worker", secrets.token_hex(4)), list[str]()

    def build(names: str, there: str) -> list[str]:
        (copied / "components" / "worker" / "packages.txt").write_text(names)
        ids.append(image_build.build(docker_client, replace(WORKER, root=copied), ref, print))
        check = f"test \"$(dpkg-query -W -f '${{Package}} ' hello tree 2>/dev/null)\" = '{there}'"
        docker_client.containers.run(str(ref), ["-c", check], entrypoint="/bin/sh", remove=True)
        return layers(docker_client, str(ref))

    yield build
    for image in ids:
        with suppress(ImageNotFound):
            docker_client.images.remove(image, force=True)


def layers(docker_client: Any, image: str) -> list[str]:
    return list(docker_client.images.get(image).attrs["RootFS"]["Layers"])


def shared_layers(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def test_one_more_package_is_installed_alone(built: Any, docker_client: Any, worker_image: str) -> None:
    plain = layers(docker_client, worker_image)
    first = built("hello # says so\n", "hello ")
    second = built("tree\nhello\n", "hello tree ")
    without_packages = shared_layers(plain, first)
    assert without_packages > 2  # that of R among them
    assert shared_layers(first, second) == without_packages + 1
    assert shared_layers(plain, built("# nothing\n", "")) == without_packages


def test_a_name_that_is_no_package_is_named_before_anything_is_built(built: Any) -> None:
    for _ in range(2):  # with Debian's names read, and with those that were read before
        with pytest.raises(ClusterError, match=r"jsonlit \(line 2.*r-cran-jsonlite\?"):
            built("hello\njsonlit\n", "")


@pytest.fixture(params=["who runs this", "who typed sudo"])
def person(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """The person to whom files should belong; by sudo a user whom the image does not know."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    if request.param == "who runs this":
        return os.getuid(), os.getgid()
    if os.getuid():
        missing("only root is who sudo makes of a person")
    monkeypatch.setenv("SUDO_UID", "54321")
    monkeypatch.setenv("SUDO_GID", "54322")
    return 54321, 54322


def test_files_that_an_action_writes_belong_to_the_person(
    person: tuple[int, int], worker_image: str, secrets_folder: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o1777)
    results = tmp_path / "results"
    results.mkdir()
    os.chown(results, *person)
    settings = own_settings(tmp_path)
    engine = engine_of(settings)
    url = "amqp://ann:secret@127.0.0.1:1"
    login = queue_login.given(url)
    assert login
    work = Work.of(settings, queue="any", action="true", url=url)
    flags = AppOverrides.of(volumes=[f"{results}:/results"])
    app = worker_app(settings, engine, Image(worker_image, "test"), work, ("-u", without_login(url)), flags)
    app = queue_login.for_workers(login, redacted(url)).added_to(app)
    check = (
        'test "$(cat "$AMQP_PASSWORD_FILE")" = secret && grep -q "^CapEff:.*0000000000000000$" /proc/self/status'
        " && python3 -c 'import getpass, pathlib; getpass.getuser(); pathlib.Path.home().joinpath(\"a\").touch()'"
        ' && Rscript -e \'writeLines("1", file.path(path.expand("~"), "b"))\''
        " && echo one two | wordcount.sh /results && touch /results/mine"
    )
    code, printed = engine.run_once(replace(app, command=check))
    assert code == 0, printed
    found = {path: (path.stat().st_uid, path.stat().st_gid) for path in results.iterdir()}
    assert len(found) == 2
    assert set(found.values()) == {person}

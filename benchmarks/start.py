"""How much slower the quick commands are than Invoke with an empty tasks.py, all measured in turn in one run.

Run: .venv/bin/python benchmarks/start.py [--rounds 20] [--at process]. To reach: `--list` at most 1.3 x its time,
`status` 2.07 x, `publish --body` 1.72 x. Read the ratios, not the seconds. It starts a queue and a worker of its own,
and removes them; with `--at local` the images amqp:v1 and worker:v1 must be built.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from socket import create_server

import yaml
from ground import ROOT

from cluster.schedulers import selection
from cluster.schedulers.selection import Choice
from cluster.settings import Settings

INV = str(ROOT / "inv")
EMPTY_TASKS = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"


def seconds(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> tuple[float, float]:
    """The time that a command takes, and that of a processor, which counts on a machine that has other work."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def something_runs(at: str) -> Iterator[Mapping[str, str]]:
    """Yields the environment of a project with a queue and a worker on free ports."""
    local = ("127.0.0.1", 0)
    with create_server(local) as amqp, create_server(local) as web, create_server(local) as metrics:
        ports = [one.getsockname()[1] for one in (amqp, web, metrics)]
    project = f"benchmark-{secrets.token_hex(4)}"
    names = ("INVOKE_QUEUE_PORT", "INVOKE_QUEUE_MANAGEMENT_PORT", "INVOKE_QUEUE_PROMETHEUS_PORT")
    env = os.environ | dict(zip(names, map(str, ports), strict=True)) | {"INVOKE_PROJECT": project}
    settings = replace(Settings.read(yaml.safe_load((ROOT / "invoke.yaml").read_text())), project=project)
    where = selection.connect(settings, Choice(at), lambda _: None)
    try:
        for app in (["queue.run-local"], ["worker.run-local", "--action", "cat"]):
            subprocess.run([INV, *app, "--at", at], env=env, check=True, stdout=subprocess.DEVNULL)
        yield env
    finally:
        for app_id in [app.id for app in where.status()]:
            where.stop(app_id, now=True)
        where.delete_data("")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--at", default="process", help="the engine of this machine: process or local")
    options, load = parser.parse_args(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, something_runs(options.at) as env:
        (Path(name) / "tasks.py").write_text(EMPTY_TASKS)
        commands = {
            "an empty tasks.py": ([sys.executable, "-m", "invoke", "nothing"], Path(name)),
            "inv --list": ([INV, "--list"], ROOT),
            "inv status": ([INV, "status"], ROOT),
            "inv publish --body": ([INV, "publish", "--body", "x"], ROOT),
        }
        if shutil.which("docker"):
            commands["docker ps"] = (["docker", "ps"], ROOT)
        rounds = [{what: seconds(*how, env) for what, how in commands.items()} for _ in range(options.rounds)]
    name, cores = platform.processor() or platform.machine(), os.cpu_count()
    print(f"{name}, {cores} cores, Python {platform.python_version()}, load {load:.1f} at the start")
    least = {what: [min(times) for times in zip(*(one[what] for one in rounds), strict=True)] for what in commands}
    for what, taken in least.items():
        ratios = [one / bare for one, bare in zip(taken, least["an empty tasks.py"], strict=True)]
        shown = [f"{one * 1000:5.0f} ms, {ratio:.2f} x" for one, ratio in zip(taken, ratios, strict=True)]
        print(f"{what:20} {shown[0]}   of a processor {shown[1]}")


if __name__ == "__main__":
    main()

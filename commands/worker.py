"""The worker component: build its image, run workers here or on a cluster, look at them, stop them."""

from __future__ import annotations

from typing import Any

from commands.output import result, results, say, settings_of
from commands.queue import HELP as COMMON
from commands.task import task

HELP = COMMON | {
    "tag": "image name and tag, such as worker:v1 (default: worker.tag in invoke.yaml)",
    "queue": "the queue to take messages from (default: queue.name in invoke.yaml)",
    "action": "what runs for a message: a file of components/worker/scripts/ or a command (default: worker.action)",
    "instances": "how many workers (default: worker.instances)",
    "jobs": "how many actions each worker runs at once; 0: one a core (default: worker.jobs)",
    "timeout": "time limit of one action in seconds (default: none)",
    "attempts": "how often a message is tried in all (default: 3)",
    "keep_alive": "start the action once and hand it message after message (docs/keep-alive.md)",
    "options": "further options of cluster_worker, in one string",
    "url": "the broker, amqp://[USER[:PASSWORD]@]HOST[:PORT] (default: the queue on this machine)",
    "app": "the id of the app of these workers (default: /worker-QUEUE)",
    "cpus": "CPUs of one worker (default: worker.cpus)",
    "mem_mib": "memory of one worker in MiB (default: worker.mem_mib)",
    "env": "NAME=value for the workers and their actions; may be given several times",
    "volume": "a folder of every agent, HOST:CONTAINER[:ro]; may be given several times",
    "constraint": "where to run, FIELD:OPERATOR[:VALUE], such as hostname:UNIQUE; may be given several times",
    "drain": "how many seconds a stop waits for running actions (default: as long as they take)",
}
RUN_FLAGS = (
    "tag", "queue", "action", "instances", "jobs", "timeout", "attempts", "keep_alive", "options", "url", "drain",
    "dry_run",
)  # fmt: skip
DEPLOY_FLAGS = (
    "marathon", "url", "tag", "queue", "instances", "cpus", "mem_mib", "env", "volume", "constraint", "action", "jobs",
    "timeout", "attempts", "keep_alive", "drain", "options", "app", "definition", "dry_run", "no_wait", "wait_timeout",
    "force", "rollback_on_failure",
)  # fmt: skip


@task(help={key: HELP[key] for key in ("tag", "registry", "no_push")})
def build(c: Any, tag: str = "", registry: str = "", no_push: bool = False) -> None:
    """Build the worker's image, with your actions in it, and push it to the private registry."""
    from cluster.components import WORKER
    from cluster.operations import build as building

    settings = settings_of(c.config, registry)
    result(str(building.build_and_push(settings, WORKER, tag or settings.worker.tag, push=not no_push, say=say)))


@task(help={key: HELP[key] for key in RUN_FLAGS})
def run_local(
    c: Any, tag: str = "", queue: str = "", action: str = "", instances: int = 0, jobs: int = -1, timeout: float = 0.0,
    attempts: int = 0, keep_alive: bool = False, options: str = "", url: str = "", drain: int = -1,
    dry_run: bool = False,
) -> None:  # fmt: skip
    """Run workers on this machine; returns when they take messages."""
    from cluster.apps import one_machine as apps
    from cluster.operations import run as running

    settings = settings_of(c.config)
    wish = apps.worker_wish(
        settings, queue=queue, action=action, url=url, instances=instances, jobs=jobs, timeout_s=timeout,
        attempts=attempts, keep_alive=keep_alive, drain_s=drain, rest=options,
    )  # fmt: skip
    for name in running.run_workers(settings, wish, tag or settings.worker.tag, dry_run=dry_run, say=say):
        result(name)


@task(
    help={key: HELP[key] for key in DEPLOY_FLAGS}
    | {"url": "another broker than the cluster's queue, amqp://[USER[:PASSWORD]@]HOST[:PORT]"},
    iterable=["env", "volume", "constraint"],
)
def deploy(
    c: Any, marathon: str = "", url: str = "", tag: str = "", queue: str = "", instances: int = 0, cpus: float = 0.0,
    mem_mib: int = 0, env: Any = None, volume: Any = None, constraint: Any = None, action: str = "", jobs: int = -1,
    timeout: float = 0.0, attempts: int = 0, keep_alive: bool = False, drain: int = -1, options: str = "",
    app: str = "", definition: str = "", dry_run: bool = False, no_wait: bool = False, wait_timeout: float = 600.0,
    force: bool = False, rollback_on_failure: bool = False,
) -> None:  # fmt: skip
    """Run workers on a cluster, which find the queue through Marathon; returns when they take messages."""
    from cluster.apps import flags as app_flags
    from cluster.apps import one_machine as apps
    from cluster.operations import deploy as deploying

    settings = settings_of(c.config)
    work = apps.worker_wish(
        settings, queue=queue, action=action, url="", instances=instances, jobs=jobs, timeout_s=timeout,
        attempts=attempts, keep_alive=keep_alive, drain_s=drain, rest=options,
    )  # fmt: skip
    wish = app_flags.wish(
        app=app, definition=definition, instances=instances, cpus=cpus, mem_mib=mem_mib, env=env or (),
        volumes=volume or (), constraints=constraint or (), url=url,
    )  # fmt: skip
    order = deploying.Order.of(
        marathon, dry_run=dry_run, no_wait=no_wait, wait_timeout_s=wait_timeout, force=force, undo=rollback_on_failure
    )
    for name in deploying.deploy_workers(settings, order, tag or settings.worker.tag, work, wish, say):
        result(name)


@task(help={key: HELP[key] for key in ("queue", "instances", "marathon", "app", "wait_timeout", "force")})
def scale(
    c: Any, queue: str = "", instances: int = 0, marathon: str = "", app: str = "", wait_timeout: float = 600.0,
    force: bool = False,
) -> None:  # fmt: skip
    """Run so many workers of a queue."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    app_id = operate.workers(settings, queue, app)
    operate.scale(settings, operate.target(settings, app_id, marathon, wait_timeout, force), instances, say)


@task(help={key: HELP[key] for key in ("queue", "marathon", "app", "wait_timeout", "force")})
def restart(
    c: Any, queue: str = "", marathon: str = "", app: str = "", wait_timeout: float = 600.0, force: bool = False
) -> None:
    """Stop and start the workers of a queue, after their running actions."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    app_id = operate.workers(settings, queue, app)
    operate.restart(settings, operate.target(settings, app_id, marathon, wait_timeout, force), say)


@task(help={key: HELP[key] for key in ("queue", "marathon", "app", "to", "dry_run", "wait_timeout", "force")})
def rollback(
    c: Any, queue: str = "", marathon: str = "", app: str = "", to: str = "", dry_run: bool = False,
    wait_timeout: float = 600.0, force: bool = False,
) -> None:  # fmt: skip
    """Run an earlier version of the workers of a queue, as many as run now."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    app_id = operate.workers(settings, queue, app)
    operate.rollback(
        settings, operate.target(settings, app_id, marathon, wait_timeout, force), to, dry_run, say
    )  # fmt: skip


@task(help={key: HELP[key] for key in ("queue", "marathon", "app", "tail", "follow")})
def logs(
    c: Any, queue: str = "", marathon: str = "", app: str = "", tail: int = 100, follow: bool = False
) -> None:  # fmt: skip
    """Print what the workers of a queue printed."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    target = operate.target(settings, operate.workers(settings, queue, app), marathon)
    results(operate.logs(settings, target, tail, follow, say))


@task(help={key: HELP[key] for key in ("queue", "marathon", "app", "now")})
def stop(c: Any, queue: str = "", marathon: str = "", app: str = "", now: bool = False) -> None:
    """Stop the workers of a queue, after their running actions."""
    from cluster.operations import operate

    settings = settings_of(c.config)
    target = operate.target(settings, operate.workers(settings, queue, app), marathon)
    operate.stop(settings, target, now, say)

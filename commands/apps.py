"""The commands of the queue and the workers: each written once, with the flags that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from commands.output import result, results, say, settings_of
from commands.task import task

if TYPE_CHECKING:
    from cluster.apps.flags import AppOverrides
    from cluster.operations.deploy import Rollout
    from cluster.operations.operate import Target
    from cluster.schedulers import DeployOptions
    from cluster.settings import Settings

MANY = ("env", "volume", "constraint", "engine_option")  # may be given several times

# Of every flag its default and its help; {name} is the component.
FLAGS: Mapping[str, tuple[Any, str]] = {
    "tag": ("", "image name and tag, such as {image}:v1 (default: {name}.tag in invoke.yaml)"),
    "registry": ("", "the registry's address, host:port (default: registry in invoke.yaml)"),
    "no_push": (False, "build only; do not push to the registry"),
    "dry_run": (False, "print what would be run or changed, change nothing"),
    "at": ("", "where: ENGINE[:ADDRESS], such as local or marathon:10.0.0.10:8080 (default: scheduler in invoke.yaml)"),
    "marathon": ("", "Marathon, HOST:PORT[,HOST:PORT] or a URL; short for --at marathon:HOST:PORT"),
    "engine_option": (None, "NAME=VALUE for the engine (default: engines in invoke.yaml); may be given several times"),
    "here": (False, "of jobs: run the queue as a process of the login node, not as a job"),
    "rabbitmq": ("", "of jobs: the folder of RabbitMQ there (default: the one in $PATH)"),
    "time": ("", "how long each job may run: minutes, H:MM:SS or D-HH:MM:SS (default: what its partition allows)"),
    "on": ("", "the host that keeps the queue's messages, as its engine calls it (default: where they are)"),
    "move_without_data": (False, "let the queue begin empty on another host; its messages stay where they were"),
    "guest": (False, "open the queue to everyone who can reach it, without a password; for a network that you trust"),
    "definition": ("", "an app definition of your own in place of the component's"),
    "no_wait": (False, "return when the engine has taken it on"),
    "wait_timeout": (600.0, "how many seconds it is followed until all instances work"),
    "force": (False, "cancel the deployment that locks the app, and take over an app that is not this project's"),
    "rollback_on_failure": (False, "go back to what ran before when it does not come up"),
    "to": ("", "the version to go back to (default: the newest that differs); --dry-run lists them"),
    "now": (False, "do not wait, end it at once"),
    "tail": (100, "how many lines of each instance (default: 100)"),
    "id": ("", "only what belongs to the message with this id, or with the one that begins so"),
    "errors": (False, "only what the workers say of attempts that failed, and of what else went wrong"),
    "follow": (False, "go on printing as lines come"),
    "queue": ("", "the queue to take messages from (default: queue.name in invoke.yaml)"),
    "action": ("", "what runs for a message: a file of components/worker/scripts/, a command (default: worker.action)"),
    "instances": (-1, "how many workers (default of a deploy: as many as there are, else worker.instances)"),
    "max_instances": (0, "let jobs come and go as the queue needs them, so many at most and --instances (0) at least"),
    "jobs": (-1, "how many actions each worker runs at once; 0: one a core (default: worker.jobs)"),
    "timeout": (0.0, "time limit of one action in seconds (default: none)"),
    "attempts": (0, "how often a message is tried in all (default: 3)"),
    "keep_alive": (False, "start the action once and hand it message after message (docs/keep-alive.md)"),
    "options": ("", "further options of cluster_worker, in one string"),
    "url": ("", "another broker than the queue there, amqp://[USER[:PASSWORD]@]HOST[:PORT]"),
    "app": ("", "the id of the app of these workers (default: /worker-QUEUE)"),
    "cpus": (0.0, "CPUs of one worker (default: worker.cpus)"),
    "mem_mib": (0, "memory of one worker in MiB (default: worker.mem_mib)"),
    "env": (None, "NAME=value for the workers and their actions; may be given several times"),
    "volume": (None, "a folder of the machine, or of every host, HOST:CONTAINER[:ro]; may be given several times"),
    "constraint": (None, "for Marathon, FIELD:OPERATOR[:VALUE], such as hostname:UNIQUE; may be given several times"),
    "body": (None, "try this text as a message"),
    "file": ("", "try a line of a file, as `publish --file` would send it; - is STDIN"),
    "colsep": ("", "what stands between the columns of a line (default: by the file's name, .csv or .tsv)"),
    "line": (0, "which line of --file (default: the first)"),
    "drain": (-1, "how many seconds a stop waits for running actions (default: as long as they take)"),
}  # fmt: skip

IMAGES = {"queue": "amqp", "worker": "worker"}
WHERE = ("at", "marathon")
WHICH = {"queue": (), "worker": ("queue", "app")}
FOLLOWED = ("wait_timeout", "force")
WORK = (
    "tag", "queue", "action", "instances", "jobs", "timeout", "attempts", "keep_alive", "options", "url", "drain",
    "app", "cpus", "mem_mib", "env", "volume", "constraint",
)  # fmt: skip
# Of one message it does not matter how many workers there would be, nor where.
TRIED = tuple(flag for flag in WORK if flag not in ("instances", "jobs", "drain", "app", "constraint"))
RUN = ("at", "engine_option", "definition", "dry_run", "no_wait")
DEPLOY = ("marathon", *RUN, "time", *FOLLOWED, "rollback_on_failure")

Body = Callable[["Settings", Any], Iterable[str] | None]


def command(
    name: str, component: str, doc: str, flags: Iterable[str], body: Body, needs: Sequence[str] = ()
) -> Any:  # fmt: skip
    """Return the task of this name, whose body gets the settings and the flags, and returns the lines of its result."""

    def run(c: Any, **values: Any) -> None:
        values |= {flag: values.get(flag) or () for flag in MANY}
        for line in body(settings_of(c.config, values.get("registry", "")), SimpleNamespace(**values)) or ():
            result(line)

    flags = tuple(flags)
    context = Parameter("c", Parameter.POSITIONAL_OR_KEYWORD)
    keywords = [Parameter(flag, Parameter.KEYWORD_ONLY, default=FLAGS[flag][0]) for flag in flags]
    run.__name__, run.__doc__ = name, doc
    run.__signature__ = Signature([context, *keywords])  # type: ignore[attr-defined]
    words = {flag: FLAGS[flag][1].format(name=component, image=IMAGES[component]) for flag in flags}
    return task(run, help=words, needs=needs, iterable=[flag for flag in flags if flag in MANY])


def build(component: str, doc: str) -> Any:
    """Return the command that builds a component's image."""

    def body(settings: Settings, flags: Any) -> Iterable[str]:
        from cluster.components import ALL
        from cluster.operations.build import build_and_push

        (built,) = (one for one in ALL if one.name == component)
        tag = flags.tag or getattr(settings, component).tag
        return [str(build_and_push(settings, built, tag, push=not flags.no_push, say=say))]

    return command("build", component, doc, ("tag", "registry", "no_push"), body)


def restart(component: str, doc: str) -> Any:
    """Return the command that starts an app anew."""

    def body(settings: Settings, flags: Any) -> None:
        from cluster.operations import operate

        operate.restart(target(settings, component, flags), say)

    return command("restart", component, doc, (*WHICH[component], *WHERE, *FOLLOWED), body)


def rollback(component: str, doc: str) -> Any:
    """Return the command that goes back to an earlier version of an app."""

    def body(settings: Settings, flags: Any) -> Iterable[str] | None:
        from cluster.operations import operate

        of = target(settings, component, flags)
        if flags.dry_run:
            return [operate.rollback_dry_run(of, flags.to, say)]
        operate.rollback(of, flags.to, say)
        return None

    return command("rollback", component, doc, (*WHICH[component], *WHERE, "to", "dry_run", *FOLLOWED), body)


def logs(component: str, doc: str, flags: Sequence[str] = ()) -> Any:
    """Return the command that prints what an app printed; with `flags` those lines alone that they choose."""

    def body(settings: Settings, given: Any) -> None:
        from cluster.operations import worker_logs

        of = target(settings, component, given)
        id_, errors = getattr(given, "id", ""), getattr(given, "errors", False)
        results(worker_logs.chosen(of, given.tail, given.follow, message_id=id_, errors=errors))

    return command("logs", component, doc, (*WHICH[component], *WHERE, *flags, "tail", "follow"), body)


def stop(component: str, doc: str) -> Any:
    """Return the command that stops an app."""

    def body(settings: Settings, flags: Any) -> None:
        from cluster.operations import operate

        operate.stop(target(settings, component, flags), flags.now, say)

    return command("stop", component, doc, (*WHICH[component], *WHERE, "now"), body)


def target(settings: Settings, component: str, flags: Any) -> Target:
    """Return the app that flags mean, where they say that it runs."""
    from cluster.components import QUEUE
    from cluster.operations import operate

    app_id = operate.workers_id(settings, flags.queue, flags.app) if component == "worker" else QUEUE.app_id
    return operate.target(settings, app_id, flags.at, flags.marathon, say, _options(flags))


def rollout(settings: Settings, flags: Any) -> Rollout:
    """Return the way in which run-local, or deploy where there are its flags, brings an app to an engine."""
    from cluster.operations.deploy import Rollout
    from cluster.schedulers import selection

    is_here = "marathon" not in vars(flags)
    if is_here:
        choice = selection.chosen_to_run_local(settings, flags.at)
    else:
        choice = selection.chosen_to_deploy(settings, flags.at, flags.marathon)
    engine = selection.connect(settings, choice, say)
    return Rollout(engine, say, _options(flags), flags.dry_run, is_watched=is_here)


def _options(flags: Any) -> DeployOptions:
    """Return how a change is made, as far as a command has flags for it."""
    from cluster.operations.deploy import LOCAL_START_S
    from cluster.schedulers import DeployOptions

    usual = {"force": False, "no_wait": False, "wait_timeout": LOCAL_START_S, "rollback_on_failure": False}
    given = SimpleNamespace(**usual | vars(flags))
    return DeployOptions(given.force, not given.no_wait, given.wait_timeout, given.rollback_on_failure)


def overrides(flags: Any) -> AppOverrides:
    """Return what flags change in a definition."""
    from cluster.apps.flags import AppOverrides

    own = ("app", "definition", "instances", "max_instances", "time", "cpus", "mem_mib", "here", "rabbitmq")
    return AppOverrides.of(
        **{name: getattr(flags, name) for name in own if name in vars(flags)}, env=flags.env,
        volumes=flags.volume, constraints=flags.constraint, engine_options=flags.engine_option,
    )  # fmt: skip

"""Deploys of the queue and of workers on any engine: checked whole, changed, then followed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pika.exceptions import ChannelClosedByBroker

from cluster.apps.app import AppSpec, AppStatus, Change, Image
from cluster.apps.component_apps import (
    Work,
    app_id_of,
    guest_from_anywhere,
    kept_host,
    options_of,
    queue_app,
    worker_app,
    worker_id,
)
from cluster.apps.flags import AppOverrides, refuse_taken
from cluster.components import QUEUE
from cluster.hosts import files as host_files
from cluster.hosts.host import of_settings as agents
from cluster.image_ref import is_local
from cluster.operations import replacing
from cluster.operations.brokers import broker_meant, queue_at
from cluster.operations.freshness import tell_older
from cluster.operations.operate import as_json, tell_change, undone_on_failure
from cluster.operations.wanted_workers import as_from_here, ending_when_idle, idle_workers, options_for
from cluster.queue import delivery_limits, workers
from cluster.queue import login as queue_login
from cluster.queue.login import QueueAddress, QueueLogin, Secrets
from cluster.schedulers import BrokerLocation, DeployOptions, Say, Scheduler, selection
from cluster.schedulers.instances import data_name
from cluster.settings import Settings
from scripts.amqp.broker import broker_errors, open_blocking, redacted
from scripts.amqp.management import QueueCount
from scripts.amqp.queues import failed_queue, queue_arguments, run_of
from scripts.errors import ClusterError
from scripts.hostport import HostPort

# R and Erlang start in seconds; a cold disk and a busy machine take longer.
LOCAL_START_S = 120.0


@dataclass(frozen=True)
class Rollout:
    """The way in which an app is brought to an engine.

    `is_watched` is for run-local: new workers are watched for a while, and a replacement that fails is undone. With
    `tries_first` the action of workers is tried before they are started, too, where none run that it would replace.
    """

    engine: Scheduler
    say: Say
    options: DeployOptions = DeployOptions()
    is_dry_run: bool = False
    is_watched: bool = False
    tries_first: bool = False

    def plan(self, app: AppSpec) -> Change:
        """Say what would change, and return it."""
        change = self.engine.plan(app, self.options)
        tell_change(change, self.engine, self.say)
        return change

    def make(
        self, change: Change, before: AppSpec | None, check: Callable[[], None] | None = None,
        waiting: Callable[[], int] | None = None,
    ) -> AppStatus:  # fmt: skip
        """Make a change, and undo it when it fails, if that is wanted.

        Args:
            before: what runs under the id now.
            check: called before anything that runs is replaced, or started where that is tried first.
            waiting: counts the messages that new workers shall be seen to work on.
        """
        replaces = change.kind == "replace"
        if check and (replaces or (self.tries_first and change.kind == "create")):
            check()
        if self.engine.caveat and change.kind != "nothing":
            self.say(self.engine.caveat)
        undoes = self.options.undo or (self.is_watched and replaces and self.options.wait)
        with undone_on_failure(self.engine, change.app.id, before, self.say) if undoes else nullcontext():
            waited = waiting() if waiting and undoes and replaces else 0
            status = self.engine.apply(change, self.options)
            if not self.options.wait:
                self.say(f"{self.engine.place} has taken it on; ./inv status{self.engine.flag} shows how far it is")
            if waiting and undoes:
                replacing.watch(self.engine, change.app.id, waiting, waited)
            return status


def deploy_queue(
    settings: Settings, rollout: Rollout, tag: str = "", on: str = "", *, may_leave_data: bool = False,
    is_open: bool = False, overrides: AppOverrides = AppOverrides(),
) -> list[str]:  # fmt: skip
    """Run the queue on a host (empty: where it is), perhaps without its data, or open to all; return when it answers.

    Return the lines of the result: the names of what runs on this machine, the address on another, and what would be
    sent where that is all that is wanted.

    Raises:
        ClusterError: something is not as it must be, and nothing was changed; or it does not come up.
    """
    engine, say = rollout.engine, rollout.say
    present = engine.present(app_id_of(overrides, QUEUE.app_id))
    host = _host_of_queue(settings, engine, on, present, may_leave_data)
    image = engine.image(tag or settings.queue.tag)
    app = queue_app(settings, engine, image, host, _with_options(settings, engine, overrides))
    login = None
    if is_open:
        if queue_login.id_in(present):
            raise ClusterError(
                "--guest: the queue has begun with a login of its own and knows no guest; to open it, stop it and "
                "delete /var/lib/cluster/amqp on its host, messages included"
            )
        app = guest_from_anywhere(app)
        say("--guest: everyone who can reach the queue may read and write it, and change its settings")
    elif not engine.is_here:
        login = queue_login.ensure(settings, queue=present, force=rollout.options.force, for_show=rollout.is_dry_run)
        app = queue_login.for_queue(login).added_to(app)
    change = rollout.plan(app)
    if rollout.is_dry_run:
        return [as_json(change)]
    _refuse_foreign(settings, engine, image, [host], say)
    with queue_login.used(settings, login):
        status = rollout.make(change, present)
    if queue_login.id_in(present) not in ("", queue_login.id_in(app)):
        say("the queue has another login now: deploy the workers again, which brings it to their hosts")
    if not rollout.options.wait:
        return []
    return _queue_result(settings, rollout, status, login)


def patient(rollout: Rollout, work: Work) -> Rollout:
    """Wait on this machine for as long as a kept-alive action may take to load, too."""
    found = options_for(work)
    if not (rollout.is_watched and found.keep_alive):
        return rollout
    timeout_s = max(rollout.options.timeout_s, LOCAL_START_S + found.ready_timeout_s)
    return replace(rollout, options=replace(rollout.options, timeout_s=timeout_s))


def deploy_workers(
    settings: Settings, rollout: Rollout, work: Work, tag: str = "", overrides: AppOverrides = AppOverrides()
) -> list[str]:  # fmt: skip
    """Run workers and return when they take messages.

    Return the names of what runs, or what would be sent where that is all that is wanted.

    Raises:
        ClusterError: something is not as it must be, and nothing was changed; or they do not come up.
    """
    engine, say, rollout = rollout.engine, rollout.say, patient(rollout, work)
    present = engine.present(worker_id(work, overrides))
    overrides = _as_elastic_as_there(overrides, present)
    work = as_from_here(ending_when_idle(work) if overrides.max_instances else work, engine)
    image = engine.image(tag or settings.worker.tag)
    if not overrides.definition:
        tell_older(image, say)
    if not (work.names_action or overrides.definition):
        _refuse_beside_run(settings, rollout, work, present)
    broker = BrokerLocation.at(work.url) if work.url else engine.broker_for(QUEUE.app_id)
    url = broker.url
    if rollout.is_watched and not rollout.is_dry_run:
        open_blocking(url).close()
    login = _workers_login(settings, rollout, url)
    app = workers_at(settings, engine, image, work, broker, login, overrides)
    if work.url and not engine.is_here and is_local(urlsplit(url).netloc):
        say(f"the workers look for the broker at {redacted(url)}, which for each of them is its own machine")
    app = _as_many_as_there(app, present, overrides, say)
    app.refuse_wrong_number()
    _refuse_short(app, work)
    rollout = replace(rollout, options=replace(rollout.options, idle=partial(idle_workers, settings, engine, app.id)))
    change = rollout.plan(app)
    if rollout.is_dry_run:
        return [as_json(change)]
    _refuse_foreign(settings, engine, image, [], say)
    check = None if overrides.definition else partial(replacing.check_action, engine, app, work, say, bool(present))
    waiting = partial(replacing.messages_waiting, url, work.queue) if rollout.is_watched else None
    with queue_login.used(settings, login if login and login.id else None):
        status = rollout.make(change, present, check, waiting)
    _make_queue_if_elastic(settings, engine, app, work)
    if rollout.options.wait:
        say(_who_takes(status, work.queue, url))
        if rollout.is_watched and workers.is_paused(url, work.queue):
            say(f"{work.queue!r} is paused: they begin when ./inv queue.resume lets it go on")
    return [instance.name for instance in status.instances] if rollout.options.wait else []


def _as_elastic_as_there(overrides: AppOverrides, present: AppSpec | None) -> AppOverrides:
    """Let workers come and go as those in whose place they come, unless a flag says how many there are to be."""
    if not present or overrides.instances >= 0 or overrides.max_instances:
        return overrides
    return replace(overrides, max_instances=present.max_instances)


def _as_many_as_there(app: AppSpec, present: AppSpec | None, overrides: AppOverrides, say: Say) -> AppSpec:
    """Return workers in place of others as so many as those are, as far as no flag says how many."""
    if not present or not (present.instances or present.max_instances) or overrides.instances >= 0:
        return app
    kept = replace(app, instances=present.instances)
    if kept != app:
        flag = "--instances and --max-instances change" if kept.max_instances else "--instances changes"
        say(f"{app.id} keeps its {present.number} instances ({flag} their number)")
    return kept


def _make_queue_if_elastic(settings: Settings, engine: Scheduler, app: AppSpec, work: Work) -> None:
    """Make the work queue as workers do, as far as that can be: they may come only when something is in it."""
    if not app.max_instances:
        return
    with suppress(ClusterError, ChannelClosedByBroker):
        url = work.url or queue_at(settings, engine).url
        with broker_errors(url), open_blocking(url) as connection:
            arguments = queue_arguments(work.queue, connection._impl.server_properties or {})
            for name in (failed_queue(work.queue), work.queue):
                connection.channel().queue_declare(name, durable=True, arguments=arguments[name])


def _refuse_beside_run(settings: Settings, rollout: Rollout, work: Work, present: AppSpec | None) -> None:
    """Refuse workers with the usual action where a run waits for its own: their output would be its results."""
    found = options_of(present) if present else None
    if found and found.command == work.action:
        return
    queues: list[QueueCount] = []
    with suppress(ClusterError):
        named = broker_meant(settings, work.url, "", "", rollout.say).management() if work.url else None
        queues = (named or queue_at(settings, rollout.engine).management).queues()
    runs = [of[1] for one in queues if (of := run_of(one.name)) and of[0] == work.queue]
    if runs:
        raise ClusterError(
            f"run {runs[0]} of inv map goes through {work.queue!r}, and {shlex.join(work.action)!r} would work on its "
            "items: give --action, or the same ./inv map command again, with --workers N where none are there"
        )


def _refuse_short(app: AppSpec, work: Work) -> None:
    """Refuse workers that may run for a shorter time than one action may."""
    timeout_s = options_for(work).limits.timeout_s or 0
    if 0 < app.time_limit_s < timeout_s:
        raise ClusterError(
            f"--time ({app.time_limit_s:g} s) is shorter than --timeout {timeout_s:g}: an action could not take "
            "the time that it may: give workers more, or actions less"
        )


def _who_takes(status: AppStatus, queue: str, url: str) -> str:
    """Say how many workers take messages of which queue, how many wait, and for what."""
    takes = "worker takes" if status.running == 1 else "workers take"
    starting = sum(one.state == "starting" for one in status.instances)
    shortage = f"; {starting} still {'starts' if starting == 1 else 'start'}" if starting else ""
    shortage += f"; {status.shortage}" if status.waiting else ""
    most = f"; {status.spec.number} come and go, as the queue needs them" if status.spec.max_instances else ""
    return f"{status.running} {takes} messages of {queue!r}{f' from {redacted(url)}' if url else ''}{shortage}{most}"


def workers_at(
    settings: Settings, engine: Scheduler, image: Image, work: Work, broker: BrokerLocation, login: QueueLogin | None,
    overrides: AppOverrides,
) -> AppSpec:  # fmt: skip
    """Return workers for an engine, with what lets them in at their broker, if they need that."""
    app, url = (
        worker_app(settings, engine, image, work, broker.words, _with_options(settings, engine, overrides)),
        broker.url,
    )
    login_secrets = [queue_login.for_workers(login, redacted(url) if url else "")] if login else []
    for secrets in (Secrets(broker.env, broker.secret_files), *login_secrets):
        refuse_taken(overrides.env, secrets.env)
        app = secrets.added_to(app)
    return app


def _host_of_queue(
    settings: Settings, engine: Scheduler, on: str, present: AppSpec | None, may_leave_data: bool
) -> str:  # fmt: skip
    if engine.has_hosts:
        return kept_host(on, present, [host.name for host in agents(settings)], may_leave_data)
    if on:
        raise ClusterError(f"--on {on}: {engine.place} has no hosts to choose from: leave it out")
    return "localhost"


def _with_options(settings: Settings, engine: Scheduler, overrides: AppOverrides) -> AppOverrides:
    """Return the overrides with the engine's options of invoke.yaml, over which flags win.

    Raises:
        ClusterError: the engine has no such option, or cannot do what a flag says.
    """
    if not engine.limits_resources:
        overrides.refuse_limits(engine.place)
    if not engine.has_images:
        overrides.refuse_volumes(engine.place)
    for volume in overrides.volumes if engine.is_here else ():
        if not (data_name(volume.host_path) or Path(volume.host_path).exists()):
            raise ClusterError(f"--volume: {volume.host_path} is not there: make it first, with mkdir -p")
    options = {**selection.usual_options(settings, engine.name), **overrides.engine_options}
    known = engine.options
    if other := next((name for name in overrides.option_flags if name not in known), ""):
        raise ClusterError(f"--{other}: {engine.place} has no such thing: leave it out")
    for name in options:
        if name not in known:
            given = "--engine-option" if name in overrides.engine_options else f"engines.{engine.name} of invoke.yaml:"
            there = f"those are {', '.join(known)}" if known else "it has none"
            raise ClusterError(f"{given} {name}: {engine.name} has no such option; {there}")
    return replace(overrides, engine_options=options)


def _workers_login(settings: Settings, rollout: Rollout, url: str) -> QueueLogin | None:
    """Return the login of a broker that is named, else of the queue of the workers' engine; None for guest."""
    if url:
        return queue_login.given(url)
    if queue := rollout.engine.present(QUEUE.app_id):
        return queue_login.login_of(settings, queue)
    return queue_login.ensure(settings, for_show=rollout.is_dry_run)


def _queue_result(settings: Settings, rollout: Rollout, status: AppStatus, login: QueueLogin | None) -> list[str]:
    engine, say = rollout.engine, rollout.say
    if status.waiting and not status.running:
        say(
            f"the queue waits{f' ({status.reasons})' if status.reasons else ''}; workers can be deployed, publish and "
            f"map reach it when it runs: ./inv status{engine.flag} shows that"
        )
        return []
    address = engine.address_of(status.id, "amqp")
    if engine.is_here:
        open_blocking(settings.queue.url).close()
    _bring_up_to_date(engine, status.id, address, login, say)
    if not rollout.is_watched:
        say(f"the queue answers at {address}")
        return [str(address)]
    say(
        f"the queue answers at {settings.queue.url} (guest); "
        f"its web page is {settings.queue.management_url} (guest, guest)"
    )
    return [instance.name for instance in status.instances]


def _bring_up_to_date(engine: Scheduler, app_id: str, amqp: HostPort, login: QueueLogin | None, say: Say) -> None:
    """Remove what earlier deploys have left: their users, queues without a delivery limit; the queue works without."""
    try:
        web = engine.reach(engine.address_of(app_id, "management"))
        management = QueueAddress(amqp, web, login).management
        for name in queue_login.remove_earlier(management) if login else ():
            say(f"user {name} of an earlier deploy was removed from the queue")
        for line in delivery_limits.give(management):
            say(line)
    except ClusterError as error:
        users = "users of earlier deploys can still log in, and " if login else ""
        say(f"{users}queues of earlier versions, if there are any, have no delivery limit: {error}; run this again")


def _refuse_foreign(settings: Settings, engine: Scheduler, image: Image, names: list[str], say: Say) -> None:
    """See that hosts can run the image, those of these names or all, where it is known which hosts there are."""
    from cluster.operations.agents import images

    if engine.has_hosts and image.architectures and (hosts := agents(settings)):
        hosts = [host_files.host_of(settings, name) for name in names] or hosts
        images.refuse_foreign(settings, hosts, image.tag, image.architectures, say)

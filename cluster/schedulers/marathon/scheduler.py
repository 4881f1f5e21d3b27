"""Marathon as an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster.apps.app import AppSpec, AppStatus, Change, Image, Kind
from cluster.apps.definitions import refuse_other_queue
from cluster.credentials import WORKER_UID, SecretFile
from cluster.hosts import files as host_files
from cluster.hosts import ssh
from cluster.hosts.files import LOGIN_ARCHIVE
from cluster.hosts.host import of_settings as agent_hosts
from cluster.image_ref import ImageRef, is_local, is_registry
from cluster.images import registry_login, sources
from cluster.images.registry_api import in_registry, labels_of
from cluster.interrupts import Interrupted
from cluster.schedulers import BrokerLocation, DeployOptions, Look, NotRunning, Say, Wanted, every_line
from cluster.schedulers.docker.body import OPTIONS, PROJECT, options_body
from cluster.schedulers.docker.on_host import HostEngine
from cluster.schedulers.marathon import agents, following, judgement
from cluster.schedulers.marathon.agents import Draining, Engines
from cluster.schedulers.marathon.api import Api, Changes
from cluster.schedulers.marathon.definition import app_of, definition_of, differences, is_same, with_paths
from cluster.schedulers.marathon.judgement import Goal, oldest_first, status_of
from cluster.settings import Settings
from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.marathon.access import addresses, ca_file
from scripts.marathon.answers import App as Answer
from scripts.marathon.answers import mapping
from scripts.marathon.discovery import pick
from scripts.password_file import secret_of

_ASKED = 3  # agents, one after the other, until one answers


class Marathon:
    """Runs apps on the agents of a Marathon; touches only what bears the label cluster.project=<project>.

    Marathon starts an instance again after its program ended, whatever the exit code.
    """

    name = "marathon"
    is_here = False
    has_hosts = True
    is_batch = False
    has_images = True
    limits_resources = True
    makes_data_folders = True
    caveat = ""
    options = tuple(OPTIONS)
    user = ""

    def __init__(self, api: Api, settings: Settings, say: Say, engines: Engines | None = None) -> None:
        """`engines` opens those of the agents: for logs, and a stop that grants other times than Marathon's."""
        self._api, self._settings, self._say = api, settings, say
        self._engines = engines or partial(agents.opened, settings, say)
        self._draining, self._changes = Draining(api, self._engines, say), Changes(api, say)
        self.address, self.place, self.flag = api.address, f"Marathon at {api.address}", api.flag

    @classmethod
    def make(cls, settings: Settings, address: str, say: Say) -> Marathon:
        """Return the Marathon at an address, HOST:PORT[,HOST:PORT], with the credentials of the environment."""
        return cls(Api(address), settings, say)

    def image(self, tag: str) -> Image:
        """Return what agents can pull: the image by its content, as its registry has it now."""
        ref, architectures = in_registry(ImageRef.parse(tag, self._settings.images))
        return Image(str(ref), tag, tuple(architectures), labels_of(ref).get(sources.LABEL, ""))

    def present(self, app_id: str) -> AppSpec | None:
        """Return the app as it is, whosever it is; None where there is none."""
        self._api.check()
        return app_of(found) if (found := self._api.app(app_id)) else None

    def plan(self, app: AppSpec, options: DeployOptions = DeployOptions(), *, restart: bool = False) -> Change:
        """Return what `apply` would do, and how it differs from what is there; change nothing."""
        return self._plan(app, self._replaceable(app, options), options, restart)

    def apply(self, change: Change, options: DeployOptions = DeployOptions()) -> AppStatus:
        """Run the app in place of what runs under its id, and return when all of it works."""
        app = change.app
        present = self._replaceable(app, options)
        planned = self._plan(app, present, options, change.kind == "restart")  # anew: time may have passed since
        if planned.kind == "restart" and planned.differences:
            self.apply(replace(planned, kind="scale"), options)
            present = self._replaceable(app, options)
        if planned.kind != "nothing" and not options.force:
            self._api.refuse_locked(app.id)
        if app.secret_files:
            settings, pinned = self._settings, app.pinned_to
            hosts = [host_files.host_of(settings, pinned)] if pinned else host_files.agents(settings)
            host_files.put(settings, hosts, app.secret_files, f"put the secrets of {app.id} on the hosts", self._say)
        if present is not None and options.is_undo and judgement.never_placed(present):
            self._end(present, now=False, drain=False)  # it would keep the place of what is put back
            present, planned = None, replace(planned, kind="create")
        if present is not None and options.drain and options.wait and planned.kind != "nothing":
            planned, present = self._drained(planned, present, options)
        accepted = self._changes.make(planned, present, options.force)
        if options.wait:
            goal = Goal(planned.sent, accepted.deployment, accepted.version, present)
            following.reach(self._api, goal, options, self._say)
        found = self._api.app(app.id)
        return status_of(found, self._api.queue()) if found else AppStatus(app, ())

    def run_once(self, app: AppSpec, timeout_s: float = 60, look: Look | None = None) -> tuple[int, list[str]]:
        """Run the app's command on the engine of the first agent that answers; return its exit code and last lines."""
        # Constraints say where Marathon runs it; the trial may be anywhere.
        unheld = {place: value for place, value in app.unheld.items() if not place.startswith("--constraint")}
        trial = replace(app, secret_files=(), pinned_to="", unheld=unheld)
        why = agents.NO_HOSTS
        for host in agent_hosts(self._settings)[:_ASKED]:
            try:
                with ssh.connected(self._settings, host) as remote:
                    return HostEngine(self._settings, remote, self._say).run_once(trial, timeout_s, look)
            except Interrupted:
                raise
            except ClusterError as error:
                why = str(error)
        raise ClusterError(why)

    def stop(self, app_id: str, now: bool = False, drain: bool = True) -> bool:
        """Stop the app and forget it, its data staying on its agent; False when there was none."""
        present = self._api.app(app_id)
        if present is None:
            return False
        self._refuse_foreign(present, f"stop {app_id}")
        self._end(present, now, drain)
        return True

    def status(self) -> list[AppStatus]:
        """Return all apps of this project; nothing that someone else deployed."""
        ours = [app for app in self._api.apps() if _project_of(app) == self._settings.project]
        queue = self._api.queue() if ours else []
        return sorted((status_of(app, queue) for app in ours), key=lambda app: app.id)

    def logs(self, app_id: str, tail: int = 100, follow: bool = False, wanted: Wanted = every_line) -> Iterator[str]:
        """Yield the last `tail` of the `wanted` lines of every instance, read from the engines of the agents."""
        app = self._existing(app_id)
        self._refuse_foreign(app, f"read the logs of {app_id}")
        task_ids = [str(task.get("id")) for task in oldest_first(app)]
        try:
            with self._engines() as engines:
                yield from agents.lines(engines, app_id, task_ids, tail, follow, wanted)
        except agents.NoHosts as error:
            raise ClusterError(f"{error}{f', such as {min(task_ids)}' if task_ids else ''}") from error

    def address_of(self, app_id: str, port_name: str = "") -> HostPort:
        """Return the address of a port of a running instance: by its name or number, else the first."""
        index = int(port_name) if port_name.isdecimal() else 0
        return pick(self._existing(app_id), "" if port_name.isdecimal() else port_name, index)

    def delete_data(self, app_id: str) -> list[str]:
        """Refuse, except for all apps, where nothing is deleted: the data is on agents, in folders of theirs."""
        if app_id:
            raise ClusterError(
                f"the data of {app_id} is on its agent, under /var/lib/cluster: delete it there "
                "(./inv agents.run --hosts HOST --command '...')"
            )
        return []

    def history(self, app_id: str) -> Iterator[tuple[str, AppSpec]]:
        """Yield the versions of an app, newest first, each asked for when it is its turn.

        One that was refused because the app was locked may be among them (GroupManagerImpl.updateRootEither).
        """
        for version in self._api.versions(app_id):
            if found := self._api.version(app_id, version):
                yield version, app_of(found)

    def broker_for(self, queue_app: str) -> BrokerLocation:
        """Return how workers find the queue: they ask Marathon, with what opens it for this machine."""
        if any(is_local(urlsplit(url).netloc) for url in addresses(self.address)):
            self._say(f"the workers look for {self.place}, which for each of them is its own machine")
        return broker_location(self.address, queue_app)

    def place_of(self, file: Path) -> str:
        """Refuse: agents see no file of this machine."""
        raise ClusterError(f"{file}: the agents of {self.place} do not see it: build an image that has it")

    def reach(self, address: HostPort) -> HostPort:
        """Return the address as it is."""
        return address

    def _replaceable(self, app: AppSpec, options: DeployOptions) -> Answer | None:
        """Return what runs under an app's id, if it may be replaced by it."""
        canonical_app_id(app.id)
        options_body(app.engine_options, app.id)
        if app.instances < 1:
            raise ClusterError(f"{app.id}: instances is {app.instances}: give 1 or more; stopping an app is a command")
        self._api.check()
        present = self._api.app(app.id)
        if present is not None:
            if not options.force:
                remedy = ": give yours another id, or take that one over with --force"
                self._refuse_foreign(present, f"deploy {app.id}", remedy)
            refuse_other_queue(app_of(present), app)
        return present

    def _plan(self, app: AppSpec, present: Answer | None, options: DeployOptions, restart: bool) -> Change:
        wanted = self._wanted(app, options.is_undo)
        if present is None:
            return Change(app, "create", wanted)
        found = tuple(differences(present, wanted))
        kind: Kind = "replace"
        if is_same(present, wanted):
            kind = "restart" if restart else "scale" if found else "nothing"
        return Change(app, kind, wanted, found)

    def _wanted(self, app: AppSpec, is_undo: bool) -> dict[str, Any]:
        """Return the definition that is sent; one that ran before has all that it needs of its host.

        What is brought back stays as it was, whosever it is.
        """
        app = with_paths(app, self._settings.project)
        if is_undo:
            return definition_of(app)
        wanted = definition_of(app.with_labels({PROJECT: self._settings.project}))
        fetched = {"uri": f"file://{LOGIN_ARCHIVE}"}
        present = wanted.get("fetch") or []
        if not _project_of(app.native) and _needs_login(app.image) and fetched not in present:
            wanted["fetch"] = [*present, fetched]
        return wanted

    def _drained(self, planned: Change, present: Answer, options: DeployOptions) -> tuple[Change, Answer | None]:
        """Let tasks finish what they run; return the change to the app as it is after that, which may be hours later.

        Where the change leaves the number of instances as it was, it leaves it as others have set it meanwhile.
        """
        app, before = planned.app, present.get("instances")
        self._draining.let_finish(present, app.instances if planned.kind == "scale" else 0)
        now = self._replaceable(app, options)
        if now is not None and before == app.instances != now.get("instances"):
            app = replace(app, instances=int(now.get("instances") or 0))
            self._say(f"{app.id} was scaled to {app.instances} meanwhile, which stays")
        return self._plan(app, now, options, planned.kind == "restart"), now

    def _end(self, present: Answer, now: bool, drain: bool) -> None:
        """Delete an app and wait until its instances have ended."""
        app_id = str(present["id"])
        if drain and not now:
            self._draining.let_finish(present)
        # Asked for before: an app that is deleted names its tasks no longer.
        task_ids = self._api.task_ids(app_id)
        # Reached before anything is done: without them there is no `now`.
        with self._engines() if now else nullcontext([]) as engines:
            accepted = self._changes.delete(app_id)
            if now:
                agents.kill(engines, task_ids)
        try:
            following.wait_until_gone(self._api, present, accepted, task_ids, self._say)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted: {app_id} is deleted, and its instances finish by themselves") from None

    def _existing(self, app_id: str) -> Answer:
        app = self._api.app(app_id)
        if app is None:
            raise NotRunning(app_id, self)
        return app

    def _refuse_foreign(self, app: Answer, doing: str, remedy: str = "") -> None:
        """Leave alone what someone else deployed: Marathon has one set of ids for everyone."""
        label = _project_of(app)
        if label == self._settings.project:
            return
        whose = f"belongs to the project {label!r}" if label else "was not deployed with these tasks"
        raise ClusterError(f"{doing}: the app of this name on {self.place} {whose}{remedy}")


def _project_of(definition: Answer) -> str:
    return str(mapping(definition.get("labels")).get(PROJECT) or "")


def _needs_login(image: str) -> bool:
    registry, slash, _ = image.partition("/")
    return bool(slash) and is_registry(registry) and registry_login.for_registry(registry) is not None


def broker_location(address: str, queue_app: str, environ: Mapping[str, str] = os.environ) -> BrokerLocation:
    """Return how workers ask a Marathon for the queue; what opens it for this machine opens it for them."""
    found = {}
    for name in ("MARATHON_PASSWORD", "DCOS_ACS_TOKEN"):
        if secret := secret_of(name, environ):
            found[f"{name}_FILE"] = secret.encode() + b"\n"
    if path := ca_file("", environ):
        found["MARATHON_CA_FILE"] = Path(path).read_bytes()
    files = tuple(
        SecretFile("worker", env.lower().replace("_", "-"), content, WORKER_UID, env) for env, content in found.items()
    )
    user = {"MARATHON_USER": environ["MARATHON_USER"]} if environ.get("MARATHON_USER") else {}
    return BrokerLocation(("-m", address, "-a", queue_app), env=user, secret_files=files)

"""Deploying to a cluster: all is checked before anything is changed, then Marathon is followed until it works."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from cluster.apps import cluster_apps
from cluster.apps import flags as app_flags
from cluster.apps.cluster_apps import Image
from cluster.apps.definitions import worker_id
from cluster.apps.flags import Wish
from cluster.apps.one_machine import Work, guest_from_anywhere
from cluster.components import QUEUE
from cluster.hosts import files as host_files
from cluster.hosts import ssh
from cluster.hosts.host import Host
from cluster.image_ref import ImageRef, is_local
from cluster.operations import replacing
from cluster.operations.replacing import CannotStart
from cluster.queue import delivery_limits
from cluster.queue import login as queue_login
from cluster.queue import users as queue_users
from cluster.queue.login import QueueLogin, Secrets
from cluster.schedulers import App, AppStatus, Change, selection
from cluster.schedulers.docker.remote import HostEngine
from cluster.schedulers.marathon.scheduler import Manner, Marathon
from cluster.settings import Settings
from scripts.amqp.broker import redacted
from scripts.amqp.management import Management
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.marathon.access import addresses

Say = Callable[[str], None]

_ASKED = 3  # agents, one after the other, until one answers


@dataclass(frozen=True)
class Order:
    """How a deploy is done: to which Marathon, whether for show alone, how long it is followed, and how it is made."""

    marathon: str
    dry_run: bool
    wait_timeout_s: float
    manner: Manner

    @classmethod
    def of(
        cls, marathon: str, *, dry_run: bool, no_wait: bool, wait_timeout_s: float, force: bool, undo: bool
    ) -> Order:  # fmt: skip
        """What the flags say.

        Raises:
            ClusterError: no time to wait.
        """
        if wait_timeout_s <= 0:
            raise ClusterError(f"--wait-timeout {wait_timeout_s:g}: give a time in seconds, or --no-wait")
        return cls(marathon, dry_run, wait_timeout_s, Manner(force=force, wait=not no_wait, undo=undo))


@dataclass(frozen=True)
class Place:
    """Where the queue shall be: on which agent (empty: where it is), also without its data, and whether open to all."""

    on: str = ""
    may_leave_data: bool = False
    is_open: bool = False


def deploy_queue(settings: Settings, order: Order, tag: str, place: Place, wish: Wish, say: Say) -> HostPort | None:
    """Run the queue on a cluster; its address, or none where nothing was waited for.

    Raises:
        ClusterError: something is not as it must be, and nothing was changed; or it does not come up.
    """
    marathon = selection.a_marathon_of(settings, order.marathon)
    where = selection.marathon(settings, marathon, say, order.manner)
    present = where.present(cluster_apps.app_id(wish, QUEUE.app_id))
    host = cluster_apps.kept_host(place.on, present, _agents(settings), place.may_leave_data)
    image = image_of(settings, tag)
    app = cluster_apps.queue_app(settings, image, host, marathon, wish)
    if place.is_open:
        _refuse_to_open(present)
        app, ready, login = guest_from_anywhere(app), _nothing, None
        say("--guest: everyone who can reach the queue may read and write it, and change its settings")
    else:
        queue_login.refuse_to_replace(settings, present, force=order.manner.force)
        login = _login(settings, order)
        secrets = queue_login.for_queue(settings, login)
        app = App(app.id, secrets.added_to(app.definition))
        ready = partial(_put, settings, lambda: [host_files.host_of(settings, host)], secrets, "the queue's login", say)
    look = partial(_refuse_foreign, settings, lambda: [host_files.host_of(settings, host)], image, say)
    status = run(where, app, order, say, partial(_each, look, ready))
    for line in [] if order.dry_run else queue_login.describe_change(present, app.definition):
        say(line)
    if status is None or not order.manner.wait:
        return None
    _bring_up_to_date(where, app.id, login, say)
    address = where.hostport(app.id, "amqp")
    say(f"the queue answers at {address}")
    return address


def deploy_workers(settings: Settings, order: Order, tag: str, work: Work, wish: Wish, say: Say) -> list[str]:
    """Run workers on a cluster; the names of what runs.

    Raises:
        ClusterError: something is not as it must be, and nothing was changed; or they do not come up.
    """
    marathon = selection.a_marathon_of(settings, order.marathon)
    where = selection.marathon(settings, marathon, say, order.manner)
    present = where.present(cluster_apps.app_id(wish, worker_id(work.queue)))
    wish = cluster_apps.as_many_as_now(wish, present)
    image = image_of(settings, tag)
    app = cluster_apps.worker_app(work, image, marathon, wish)
    for line in _told_of_loopback(marathon, wish.broker):
        say(line)
    secrets, ready = _workers_secrets(settings, order, where, wish.broker), _nothing
    if secrets:
        app_flags.refuse_taken(wish.env, secrets.env)
        app = App(app.id, secrets.added_to(app.definition))
        ready = partial(_put, settings, lambda: host_files.agents(settings), secrets, "the workers' password", say)
    check = _nothing if wish.definition else partial(_check_action, settings, app, work, say)
    look = partial(_refuse_foreign, settings, lambda: host_files.agents(settings), image, say)
    status = run(where, app, order, say, partial(_each, look, ready), check)
    if status is None or not order.manner.wait:
        return []
    say(f"workers taking messages of {work.queue!r}: {status.running}")
    return [instance.name for instance in status.instances]


def run(
    where: Marathon, app: App, order: Order, say: Say, ready: Callable[[], None],
    check: Callable[[], None] = lambda: None,
) -> AppStatus | None:  # fmt: skip
    """Show what a deploy would change, and unless that is all that is wanted, get the hosts ready and do it.

    `check` is called before anything that runs is replaced.
    """
    change = where.plan(app)
    for line in told(change, where.place):
        say(line)
    if order.dry_run:
        print(json.dumps(change.sent.get(app.id, app.definition), indent=2))
        return None
    if change.kind != "nothing":
        where.refuse_locked(app.id)
    ready()
    if change.kind == "replace":
        check()
    status = where.deploy(app, order.wait_timeout_s)
    if not order.manner.wait:
        say(f"Marathon has taken it on; ./inv status -m {where.place} shows how far it is")
    return status


def told(change: Change, place: str) -> list[str]:
    """What a deploy changes, for people."""
    if change.kind == "create":
        return [f"{change.app_id} is new on Marathon at {place}"]
    if change.kind == "nothing":
        return [f"{change.app_id} is on Marathon at {place} just so"]
    return [f"{change.app_id} on Marathon at {place} changes:", *(f"  {line}" for line in change.differences)]


def image_of(settings: Settings, tag: str) -> Image:
    """What agents can pull: the image by its content, as its registry has it now.

    Raises:
        ClusterError: the registry has it not, or no agent can reach that one.
        ServiceAway: the registry does not answer.
    """
    from cluster.images import registry_login
    from cluster.operations.agents.pull import in_registry

    ref, architectures = in_registry(ImageRef.parse(tag, settings.images))
    return Image(str(ref), tag, registry_login.for_registry(ref.registry) is not None, architectures)


def on_loopback(marathon: str) -> bool:
    """Whether an address of Marathon is one that means another machine on each machine."""
    return any(is_local(urlsplit(url).netloc) for url in addresses(marathon))


def _told_of_loopback(marathon: str, broker: str) -> list[str]:
    """What a person may not have meant: an address of what workers look for that is another machine on each."""
    what, place = ("the broker", redacted(broker)) if broker else ("Marathon", marathon)
    if not (is_local(urlsplit(place).netloc) if broker else on_loopback(place)):
        return []
    return [f"the workers look for {what} at {place}, which for each of them is its own machine"]


def _workers_secrets(settings: Settings, order: Order, where: Marathon, broker: str) -> Secrets | None:
    """What workers need to log in to the cluster's queue, or to a broker that was named; None where guest is let in."""
    if broker:
        given = queue_login.given(broker)
        return queue_login.for_workers(settings, given, broker=redacted(broker)) if given else None
    queue = where.present(QUEUE.app_id)
    login = queue_login.of_queue(settings, queue) if queue else _login(settings, order)
    return queue_login.for_workers(settings, login) if login else None


def _login(settings: Settings, order: Order) -> QueueLogin:
    """The login of the queue; one that is for show alone is not kept."""
    if order.dry_run:
        return queue_login.known(settings) or QueueLogin(queue_login.USER, "", salt="", id="made-when-deployed")
    return queue_login.ensure(settings)


def _bring_up_to_date(where: Marathon, app_id: str, login: QueueLogin | None, say: Say) -> None:
    """Remove what earlier deploys have left: their users, queues without a delivery limit; the queue works without."""
    user, password = (login.user, login.password) if login else ("guest", "guest")
    try:
        management = Management(f"http://{where.hostport(app_id, 'management')}", user, password, "/")
        for name in queue_users.remove_earlier(management) if login else ():
            say(f"user {name} of an earlier deploy was removed from the queue")
        for line in delivery_limits.give(management):
            say(line)
    except ClusterError as error:
        say(
            "if there are any of earlier deploys, users can still log in, and queues have no delivery limit: "
            f"{error}; the next queue.deploy tries again"
        )


def _put(settings: Settings, hosts: Callable[[], list[Host]], secrets: Secrets, what: str, say: Say) -> None:
    host_files.put(settings, hosts(), secrets.files, f"put {what} on the hosts", say)


def _check_action(settings: Settings, app: App, work: Work, say: Say) -> None:
    """See on an agent that the new workers can start their action; where none can be asked, that is said.

    Raises:
        CannotStart: they cannot.
    """
    from cluster.hosts.host import chosen

    why = "agents.hosts of invoke.yaml names no hosts"
    for host in chosen(settings)[:_ASKED] if settings.agents.hosts or settings.agents.hosts_file else ():
        try:
            with ssh.connected(settings, host) as remote:
                replacing.check_action(HostEngine(remote, settings.project, say), app, work)
                return
        except CannotStart:
            raise
        except ClusterError as error:
            why = str(error)
    say(f"whether the action can be started was not looked at: {why}")


def _refuse_foreign(settings: Settings, hosts: Callable[[], list[Host]], image: Image, say: Say) -> None:
    """See that the hosts can run the image, where it is known which those are."""
    from cluster.operations.agents import pull

    if image.architectures and _agents(settings):
        pull.refuse_foreign(settings, hosts(), image.tag, image.architectures, say)


def _each(*steps: Callable[[], None]) -> None:
    for step in steps:
        step()


def _nothing() -> None:
    """An app without secrets needs nothing of its hosts."""


def _refuse_to_open(present: Mapping[str, Any] | None) -> None:
    if queue_login.id_in(present):
        raise ClusterError(
            "--guest: the queue has begun with a login of its own and knows no guest; to open it, stop it and delete "
            "/var/lib/cluster/amqp on its agent, messages included"
        )


def _agents(settings: Settings) -> list[str]:
    from cluster.hosts.host import chosen

    if not settings.agents.hosts and not settings.agents.hosts_file:
        return []
    return [host.name for host in chosen(settings)]

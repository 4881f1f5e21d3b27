"""Pulls of an image to all hosts before it is needed there, by its content, so that all run the same bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from docker.errors import ImageNotFound

from cluster.engine import pulls
from cluster.hosts.all_hosts import Say, Show, on_all_hosts, values
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote, engine_errors
from cluster.image_ref import ImageRef
from cluster.images import build as image_build
from cluster.images import registry_login
from cluster.images.registry_api import in_registry
from cluster.images.registry_errors import remedy_on_a_host
from cluster.settings import Settings
from scripts.errors import ClusterError

_HOST_S = 60.0


def pull(settings: Settings, hosts: Sequence[Host], tag: str, *, timeout_s: float, dry_run: bool, say: Say) -> ImageRef:
    """Pull an image to all hosts and return its name by content; no host is asked where the registry lacks it."""
    ref, architectures = in_registry(ImageRef.parse(tag, settings.images))
    doing = f"pull {tag}"
    login = registry_login.auth_config(ref.registry)

    def act(remote: Remote, show: Show) -> str:
        if why := mismatch(remote, architectures):
            raise ClusterError(f"{remote.name}: {ref} {why}: build it on a machine like this host, or leave it out")
        with engine_errors(remote, f"look for {ref}"), suppress(ImageNotFound):
            remote.engine().images.get(str(ref))
            return "has it already"
        if dry_run:
            return f"would pull {ref}"
        with engine_errors(remote, f"pull {ref}"):
            try:
                return f"pulled {pulls.pull(remote.engine(), str(ref), login, show=show) / 1e6:,.0f} MB"
            except pulls.NotPulled as error:
                raise ClusterError(f"pull {ref}: {explained(ref.registry, str(error))}") from error

    outcomes = on_all_hosts(settings, hosts, act, doing=doing, timeout_s=timeout_s, say=say, describe=str)
    values(outcomes, doing, say)
    return ref


def mismatch(remote: Remote, architectures: Collection[str]) -> str:
    """Return why a host cannot run an image of these architectures; "" if it can, or nobody knows."""
    with engine_errors(remote, "ask the Docker Engine"):
        machine = str(remote.engine().version().get("Arch", ""))
    if not image_build.mismatch(architectures, machine, ()):
        return ""
    emulators = remote.run(f"LC_ALL=C ls {image_build.EMULATORS}").out.decode(errors="replace").split()
    return image_build.mismatch(architectures, machine, emulators)


def refuse_foreign(
    settings: Settings, hosts: Sequence[Host], image: str, architectures: Collection[str], say: Say
) -> None:
    """Refuse an image that none of the hosts can run, and say which cannot; hosts out of reach do not count."""
    outcomes = on_all_hosts(
        settings, hosts, lambda remote, show: mismatch(remote, architectures), doing="ask the agents what they run",
        timeout_s=_HOST_S, say=lambda line: None, describe=lambda why: "cannot run it" if why else "runs it",
    )  # fmt: skip
    foreign = {str(one.host): one.value for one in outcomes if one.value}
    if foreign and not any(one.value == "" for one in outcomes):
        raise ClusterError(
            f"the image {image} {next(iter(foreign.values()))}, as {', '.join(foreign)} is: build it on a machine like "
            "that"
        )
    for host, why in foreign.items():
        say(f"{host}: the image {image} {why}: keep its instances away from this host with --constraint")


def explained(registry: str, problem: str) -> str:
    """Return the engine's words, with the next step where it is known."""
    words = " ".join(problem.split())
    step = remedy_on_a_host(registry, words)
    return f"{step} ({words})" if step else words

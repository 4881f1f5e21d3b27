"""An image on every host before it is needed there, by its content, so that all run the same bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from docker.errors import DockerException, ImageNotFound
from requests import RequestException, exceptions
from urllib3.exceptions import HTTPError, ProtocolError

from cluster.engine.errors import is_silence, reason
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.together import Say, Show, together, values
from cluster.image_ref import ImageRef
from cluster.images import architecture, registry_login
from cluster.images.build_events import problem_of
from cluster.images.registry_api import in_registry
from cluster.images.remote_errors import remedy
from cluster.operations.agents import facts
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway

ENGINE_ERRORS = (DockerException, RequestException, HTTPError)
_HOST_S = 60.0
_BROKEN = (exceptions.ConnectionError, exceptions.ChunkedEncodingError, ProtocolError)


def pull(settings: Settings, hosts: Sequence[Host], tag: str, *, timeout_s: float, dry_run: bool, say: Say) -> ImageRef:
    """Pull an image to all hosts; its name by content.

    Raises:
        ServiceAway: the registry does not answer.
        ClusterError: the registry does not hold it (no host is asked then), or hosts failed.
    """
    ref, architectures = in_registry(ImageRef.parse(tag, settings.images))
    doing = f"pull {tag}"
    login = registry_login.auth_config(ref.registry)

    def act(remote: Remote, show: Show) -> str:
        if why := mismatch(remote, architectures):
            raise ClusterError(f"{remote.name}: {ref} {why}: build it on a machine like this host, or leave it out")
        if _is_there(remote, ref):
            return "has it already"
        if dry_run:
            return f"would pull {ref}"
        return f"pulled {_pull(remote, ref, login, show) / 1e6:,.0f} MB"

    outcomes = together(settings, hosts, act, doing=doing, timeout_s=timeout_s, say=say, told=str)
    values(outcomes, doing, say)
    return ref


def mismatch(remote: Remote, architectures: Collection[str]) -> str:
    """Return why a host cannot run an image of these architectures; empty where it can, or nobody knows."""
    try:
        machine = str(remote.engine().version().get("Arch", ""))
    except ENGINE_ERRORS as error:
        raise failure(remote, "ask the Docker Engine", error) from error
    if not architecture.mismatch(architectures, machine, ()):
        return ""
    return architecture.mismatch(architectures, machine, facts.emulators(remote))


def refuse_foreign(
    settings: Settings, hosts: Sequence[Host], image: str, architectures: Collection[str], say: Say
) -> None:
    """See that at least one of the hosts can run an image, and say which cannot; one that is not reached says nothing.

    Raises:
        ClusterError: none can.
    """
    outcomes = together(
        settings, hosts, lambda remote, show: mismatch(remote, architectures), doing="ask the agents what they run",
        timeout_s=_HOST_S, say=lambda line: None, told=lambda why: "cannot run it" if why else "runs it",
    )  # fmt: skip
    foreign = {str(one.host): one.value for one in outcomes if one.value}
    if foreign and not any(one.value == "" for one in outcomes):
        raise ClusterError(
            f"the image {image} {next(iter(foreign.values()))}, as {', '.join(foreign)} is: build it on a machine like "
            "that"
        )
    for host, why in foreign.items():
        say(f"{host}: the image {image} {why}: keep its instances away from this host with --constraint")


def _is_there(remote: Remote, ref: ImageRef) -> bool:
    try:
        remote.engine().images.get(str(ref))
    except ImageNotFound:
        return False
    except ENGINE_ERRORS as error:
        raise failure(remote, f"look for {ref}", error) from error
    return True


def _pull(remote: Remote, ref: ImageRef, login: dict[str, str], show: Show) -> int:
    """How many bytes came; the rest was there."""
    sizes: dict[str, tuple[int, int]] = {}
    problem = ""
    try:
        for event in remote.engine().api.pull(
            ref.repository, tag=ref.digest, stream=True, decode=True, auth_config=login
        ):
            problem = problem or problem_of(event)
            note(sizes, event)
            show(progress(sizes.values()))
    except ENGINE_ERRORS as error:
        raise failure(remote, f"pull {ref}", error) from error
    if problem:
        raise ClusterError(f"pull {ref}: {explained(ref.registry, problem)}")
    return sum(done for done, _ in sizes.values())


def note(sizes: dict[str, tuple[int, int]], event: dict[str, Any]) -> None:
    """Keep how many bytes of a layer came and how many there are; unpacking counts the same bytes again."""
    detail, layer = event.get("progressDetail") or {}, event.get("id", "")
    if event.get("status") == "Downloading" and detail.get("total"):
        sizes[layer] = (detail.get("current", 0), detail["total"])
    elif event.get("status") == "Download complete" and layer in sizes:
        sizes[layer] = (sizes[layer][1], sizes[layer][1])


def progress(sizes: Iterable[tuple[int, int]]) -> str:
    """Such as `12 of 120 MB`; once all came, the layers are unpacked."""
    pairs = list(sizes)
    done, total = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    if total and done >= total:
        return f"{total / 1e6:,.0f} MB came, unpacks"
    return f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB" if total else "asks the registry"


def failure(remote: Remote, doing: str, error: Exception) -> ClusterError:
    """The one-line error for what the SDK raised about a host's engine."""
    if is_silence(error):
        return ServiceAway(f"{remote.name}: {doing}: its Docker Engine did not answer in time: is it overloaded?")
    if isinstance(error, _BROKEN):
        return ServiceAway(
            f"{remote.name}: {doing}: the connection broke: is the host or its engine down? run this again"
        )
    words = str(getattr(error, "explanation", "") or reason(error))
    return ClusterError(f"{remote.name}: {doing}: {explained('the registry', words)}")


def explained(registry: str, problem: str) -> str:
    """The engine's words, with what to do where we know it."""
    words = " ".join(problem.split())
    step = remedy(registry, words)
    return f"{step} ({words})" if step else words

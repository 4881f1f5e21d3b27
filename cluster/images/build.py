"""Images: built from a component's Dockerfile, pushed to the registry, named by their content."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from cluster import programs
from cluster.components import Component
from cluster.engine import docker_errors, logins
from cluster.engine.errors import problem_of, words_of
from cluster.image_ref import ImageRef, is_local
from cluster.images import base_image, packages, registry_api, registry_login, sources
from cluster.images.registry_errors import Trouble, ca_file, failure, trouble_in
from cluster.terminal import live_line
from scripts.errors import ClusterError, ServiceAway

_SAYS_NOTHING = "500 Internal Server Error"  # all that the engine tells of a registry's reasons
_GIT_S = 30
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")

Event = Mapping[str, Any]

# Where QEMU and its like say what they run: a file for each architecture.
EMULATORS = "/proc/sys/fs/binfmt_misc"

# Of architectures in Docker's words.
_RUNS_TOO = {"amd64": {"386"}, "arm64": {"arm"}}
_FOR_QEMU = {"386": "i386", "amd64": "x86_64", "arm64": "aarch64"}

LAST_LINES = 12  # of a failed step's output, shown with the error
_KEPT_CHARACTERS = 8000
_SHOWN_CHARACTERS = 100

_STEP = re.compile(r"Step (\d+/\d+) : (.*)", re.DOTALL)
_EXIT_CODE = re.compile(r"returned a non-zero code: (\d+)")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")  # the classic builder paints STDERR red
_FULL = "no space left on device"
_NO_NETWORK = ("Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect")


def build(client: docker.DockerClient, component: Component, ref: ImageRef, say: Callable[[str], None]) -> str:
    """Build a component's image under a name and return its id; `say` gets a line for each step that is not cached."""
    doing = f"build {ref}"
    logins.of_build(client, component.dockerfile.read_text(encoding="utf-8", errors="replace"))
    base_image.ensure_base(client, say)
    args = proxies(os.environ)
    with packages.checked(client, component, say, args) as (dockerfile, groups), docker_errors(doing):
        events = client.api.build(
            path=str(component.root),
            dockerfile=dockerfile,
            tag=str(ref),
            labels=labels(component, ref) | groups,
            buildargs=args,
            use_config_proxy=True,
            rm=True,
            forcerm=True,
            decode=True,
        )
        with live_line(doing) as show:
            follow(doing, events, say, show)
        return str(client.images.get(str(ref)).id)


@dataclass(frozen=True)
class Step:
    """A step of a Dockerfile, its place among all (`3/9`), and the end of what it printed."""

    place: str = ""
    instruction: str = ""
    printed: str = ""

    @property
    def summary(self) -> str:
        """The instruction in one line, cut to what a person would read."""
        words = " ".join(self.instruction.split())
        return words if len(words) <= _SHOWN_CHARACTERS else words[: _SHOWN_CHARACTERS - 3] + "..."

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it printed."""
        lines = (line.strip() for line in re.split(r"[\r\n]", _COLOR.sub("", self.printed)))
        return [line for line in lines if line][-LAST_LINES:]


def follow(doing: str, events: Iterable[Event], say: Callable[[str], None], show: Callable[[str], None]) -> None:
    """Follow a build to its end: `say` each command that it runs (not what is cached), `show` what is being printed."""
    step, problem = Step(), ""
    for event in events:  # to their end, so that the connection is free again
        problem = problem or problem_of(event)
        text = str(event.get("stream", ""))
        if begun := _STEP.match(text):
            step = Step(begun[1], begun[2])
        elif text.startswith(" ---> Running in"):
            if step.instruction.startswith("RUN "):  # other steps take a moment
                say(f"{doing}: {step.place} {step.summary}")
        elif not text.startswith((" ---> ", "Removing intermediate container")):
            step = replace(step, printed=(step.printed + text)[-_KEPT_CHARACTERS:])
            show(step.last_lines[-1] if step.last_lines else "")
    if problem:
        raise _failure(doing, step, problem)


def _failure(doing: str, step: Step, problem: str) -> ClusterError:
    if any(_FULL in text.lower() for text in (problem, step.printed)):
        raise DockerException(_FULL)  # which is not the step's failure
    exit_code = _EXIT_CODE.search(problem)
    how = f"with exit code {exit_code[1]}" if exit_code else f"({' '.join(problem.split())})"
    hint = "; what is built reaches no Debian mirror" if any(word in step.printed for word in _NO_NETWORK) else ""
    words = f"{doing}: step {step.place} failed {how}{hint}: {step.summary}"
    return ClusterError(words, [f"    {line}" for line in step.last_lines])


def labels(component: Component, ref: ImageRef) -> dict[str, str]:
    """Return the labels that are known only when an image is built; the others stand in the Dockerfile."""
    known = {"version": ref.tag, "revision": revision_of(component.sources, component.root)}
    named = {f"org.opencontainers.image.{name}": value for name, value in known.items() if value}
    return named | {sources.LABEL: sources.digest(component)}


def revision_of(folders: Sequence[Path], repo: Path) -> str:
    """Return the last commit that changed anything in the folders, with -dirty where files differ from it.

    Commits elsewhere do not change it, so that an image is the same again as long as its files are. Empty without a
    commit: a copy of the files, or no git.
    """
    commit = _git(repo, "log", "-1", "--format=%H", "--", *folders)
    changed = _git(repo, "status", "--porcelain", "--", *folders)
    return f"{commit}-dirty" if commit and changed else commit


def _git(repo: Path, *arguments: str | Path) -> str:
    try:
        done = programs.run(["git", "-C", str(repo), *map(str, arguments)], limit_s=_GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.decode(errors="replace").strip()


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return this machine's proxy, as `docker build` hands it on; it does not stay in the image."""
    return {name: value for name, value in environ.items() if name.lower() in _PROXIES and value}


def refuse_useless_registry(client: docker.DockerClient, ref: ImageRef) -> None:
    """See before a build, which may take minutes, that the engine could push to the registry of this name.

    Some registries let nobody look for an image that is not there: without a login of ours only silence tells.
    """
    login = registry_login.auth_config(ref.registry)
    with docker_errors(f"push {ref}"):
        try:
            client.images.get_registry_data(str(ref), auth_config=login)
        except APIError as error:
            known = _registry_failure(client, f"push {ref}", ref, words_of(error))
            if known and (login or isinstance(known, ServiceAway)):
                raise known from error


def push(client: docker.DockerClient, ref: ImageRef, say: Callable[[str], None]) -> str:
    """Push an image to the registry of its name, with the login kept for it; return its digest (`sha256:...`)."""
    doing, digest, problem = f"push {ref}", "", ""
    with docker_errors(doing), live_line(doing) as show:
        login = registry_login.auth_config(ref.registry)
        for event in client.api.push(ref.repository, tag=ref.tag, stream=True, decode=True, auth_config=login):
            problem = problem or problem_of(event)  # of which the SDK itself says nothing
            digest = (event.get("aux") or {}).get("Digest", digest)
            show(_now(event))
    if problem:
        raise _push_failure(client, doing, ref, problem)
    if not digest:
        raise ClusterError(f"{doing}: the registry {ref.registry} named no digest: push it again")
    say(f"pushed {ref}, {digest[:19]}")
    return digest


def _now(event: Mapping[str, Any]) -> str:
    """Return what a push is at, such as `Pushing 12 of 120 MB`."""
    detail = event.get("progressDetail") or {}
    done = f" {detail.get('current', 0) / 1e6:.0f} of {detail['total'] / 1e6:.0f} MB" if detail.get("total") else ""
    return str(event.get("status", "")) + done


def deployable(client: docker.DockerClient, ref: ImageRef) -> str:
    """Return an app definition's name for the image: by its content where its registry holds it, else by its tag.

    Raises:
        ClusterError: it is neither on this machine nor in its registry, or that does not let us look; or it is built
            for machines of another architecture.
        ServiceAway: it is not here, and a registry elsewhere does not answer.
    """
    with docker_errors(f"look for {ref}"), suppress(ImageNotFound):
        image = client.images.get(str(ref))
        _refuse_foreign(client, ref, [image.attrs.get("Architecture", "")])
        digests = image.attrs.get("RepoDigests") or []
        return next((known for known in digests if known.rpartition("@")[0] == ref.repository), str(ref))
    found = _in_registry(client, ref)
    _refuse_foreign(client, ref, [one.get("architecture", "") for one in found.attrs.get("Platforms") or []])
    return str(ref.at(str(found.id)))


def sources_of(client: docker.DockerClient, name: str) -> str:
    """Return the digest of the files that an image was built from; empty where it is not here, or says nothing."""
    with docker_errors(f"look for {name}"), suppress(ImageNotFound):
        return str((client.images.get(name).labels or {}).get(sources.LABEL, ""))
    return ""


def _refuse_foreign(client: docker.DockerClient, ref: ImageRef, architectures: list[str]) -> None:
    with docker_errors("ask the Docker Engine what it runs"):
        machine = str(client.version().get("Arch", ""))
    known = [one for one in architectures if one not in ("", "unknown")]
    if why := mismatch(known, machine, emulators_here()):
        raise ClusterError(f"the image {ref} {why}, which this machine is: build it here, or on a machine like this")


def mismatch(image: Collection[str], machine: str, emulators: Collection[str]) -> str:
    """Return why a machine cannot run an image of these architectures; empty where it can, or nobody knows."""
    able = {machine, *_RUNS_TOO.get(machine, ())}
    emulated = {one for one in image if f"qemu-{_FOR_QEMU.get(one, one)}" in emulators}
    if not machine or not image or (able | emulated) & set(image):
        return ""
    return f"is built for {' and '.join(sorted(image))}, and not for {machine}"


def emulators_here() -> list[str]:
    """Return what this machine emulates, as the names of files."""
    try:
        return [file.name for file in Path(EMULATORS).iterdir()]
    except OSError:
        return []


def _in_registry(client: docker.DockerClient, ref: ImageRef) -> Any:
    try:
        return client.images.get_registry_data(str(ref), auth_config=registry_login.auth_config(ref.registry))
    except APIError as error:
        known = _registry_failure(client, f"look for {ref}", ref, words_of(error))
        if known and not is_local(ref.registry):
            raise known from error
        raise ClusterError(
            f"no image {ref}, neither on this machine nor in its registry: build it with "
            f"`./inv queue.build -t {ref.name}:{ref.tag}` or `./inv worker.build -t {ref.name}:{ref.tag}`"
        ) from error


def _push_failure(client: docker.DockerClient, doing: str, ref: ImageRef, problem: str) -> ClusterError:
    if "does not exist locally" in problem.lower():
        return ClusterError(f"{doing}: there is no image of this name on this machine: build it first")
    if _SAYS_NOTHING in problem:
        problem = registry_api.write_problem(ref.registry, ref.name) or problem
    problem = " ".join(problem.split())
    logs = "; see `./inv registry.logs`" if is_local(ref.registry) else ""
    known = _registry_failure(client, doing, ref, problem)
    return known or ClusterError(f"{doing}: {ref.registry} refused it: {problem}{logs}")


def _registry_failure(client: docker.DockerClient, doing: str, ref: ImageRef, words: str) -> ClusterError | None:
    """Return the error for an engine's words where they tell of trouble with the registry itself."""
    trouble = trouble_in(words)
    if trouble in (None, Trouble.ABSENT):
        return None
    if trouble is Trouble.LOGIN and registry_api.lets_us_in(ref.registry):
        trouble = Trouble.NO_RIGHT
    engine_ca = ca_file(client, ref.registry)
    known = failure(ref.registry, trouble, words, engine_ca=engine_ca)
    return type(known)(f"{doing}: {known}")

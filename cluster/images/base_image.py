"""The base of all images, `debian:trixie-slim`: the one that is there, else pulled, else made here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.engine import debian, docker_errors
from cluster.engine.errors import is_silence, problem_of, raised_by_sdk, reason
from cluster.engine.pulls import NotPulled, events, pull
from scripts.errors import ClusterError

NAME = "debian:trixie-slim"
SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ["mmdebstrap", "debian-archive-keyring", "mount"]
PULL_SILENCE_S = 20  # a registry that cannot be reached would otherwise be waited for for minutes
MAKE_TIMEOUT_S = 900

_ARCHIVE = "root.tar"

# What Debian's own slim image leaves out.
_EXCLUDED = ("doc/*", "groff/*", "info/*", "lintian/*", "linda/*", "locale/*", "man/*")
_INCLUDED = ("doc/*/copyright", "locale/locale.alias")
# As in Debian's own image: packages start no services while they are installed, apt keeps no downloads, and the
# machine that made the image is not in it. The shell runs this with the image's root folder as $1.
_FINISH = r"""
printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d" &&
printf 'APT::Keep-Downloaded-Packages "false";\nAcquire::Languages "none";\n' >"$1/etc/apt/apt.conf.d/docker" &&
rm -f "$1/etc/hostname" "$1/etc/resolv.conf"
"""
_CHANGES = [
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    'CMD ["bash"]',
    'LABEL org.opencontainers.image.description="Debian trixie, slim: made by mmdebstrap on a machine of its user"',
]


def ensure_base(client: Any, say: Callable[[str], None], name: str = NAME) -> None:
    """Provide the engine with the image `name`; `say` gets a line for each step that takes time."""
    if _is_there(client, name):
        return
    say(f"pulling {name}")
    try:
        pull(client, name, silence_s=PULL_SILENCE_S)
        problem = "" if _is_there(client, name) else "it did not arrive"
    except NotPulled as error:
        problem = str(error)
    except raised_by_sdk() as error:
        problem = f"no answer within {PULL_SILENCE_S} s" if is_silence(error) else reason(error)
    if problem:
        say(f"{name} cannot be pulled ({problem})")
        _make(client, say, name)


def _is_there(client: Any, name: str) -> bool:
    with docker_errors(f"look for {name}"):
        return bool(client.images.list(name))


def _make(client: Any, say: Callable[[str], None], name: str) -> None:
    _get_mmdebstrap(say, name)
    sources = debian_sources(_index_targets(), os.environ.get("DEBIAN_MIRROR", ""))
    # A place with room for the files of a system; /tmp may be in memory.
    with tempfile.TemporaryDirectory(prefix="base-image-", dir=os.environ.get("TMPDIR") or "/var/tmp") as folder:
        say(f"making {name} from Debian's packages with mmdebstrap (half a minute)")
        _run_mmdebstrap(mmdebstrap_command(sources), Path(folder), name)
        repository, tag = name.rsplit(":", 1)
        with docker_errors(f"import {name}"):
            answer = client.api.import_image(f"{folder}/{_ARCHIVE}", repository=repository, tag=tag, changes=_CHANGES)
        if problem := next(filter(None, map(problem_of, events(answer.splitlines()))), ""):
            raise ClusterError(f"import {name}: {problem}")


def _get_mmdebstrap(say: Callable[[str], None], name: str) -> None:
    may_run = os.geteuid() == 0 or shutil.which("newuidmap") is not None
    if may_run and shutil.which("mmdebstrap") and KEYRING.exists():
        return
    if not debian.is_allowed():
        raise ClusterError(
            f"{name} is not here, cannot be pulled, and something is missing to make it: "
            f"sudo apt install mmdebstrap uidmap debian-archive-keyring, or docker load it from a file"
        )
    debian.install(PACKAGES, say)


def debian_sources(index_targets: str, mirror: str = "") -> list[str]:
    """Return the sources.list lines of `SUITE`, from where apt gets Debian here; none when no mirror is known.

    `index_targets` are lines ORIGIN|LABEL|URI of what apt of this machine uses; `mirror` is the user's, and wins.
    """
    rows = [line.split("|") for line in index_targets.splitlines()]
    by_label = {
        label: uri.rstrip("/") for origin, label, uri in reversed(rows) if origin == "Debian" and uri.startswith("http")
    }
    main, security = (mirror, "") if mirror else (by_label.get("Debian"), by_label.get("Debian-Security"))
    places = [(main, SUITE), (main, f"{SUITE}-updates"), (security, f"{SUITE}-security")] if main else []
    return [f"deb [signed-by={KEYRING}] {uri} {suite} main" for uri, suite in places if uri]


def mmdebstrap_command(sources: list[str]) -> list[str]:
    """Return the command that writes the image's files to STDOUT as a tar archive."""
    options = [f"path-exclude=/usr/share/{path}" for path in _EXCLUDED]
    options += [f"path-include=/usr/share/{path}" for path in _INCLUDED]
    # apt cannot check an https mirror from within the image without these
    certificates = ["--include=ca-certificates"] if any(" https:" in source for source in sources) else []
    return [
        "mmdebstrap", "--variant=minbase", "--format=tar", "--skip=chroot/policy-rc.d", *certificates,
        *(f"--dpkgopt={option}" for option in options), f"--customize-hook={_FINISH}",
        SUITE, "-", *(sources or [f"--keyring={KEYRING}"]),
    ]  # fmt: skip


def _index_targets() -> str:
    """Return what apt of this machine uses, `ORIGIN|LABEL|URI` a line; it knows the origin when it has read lists."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    if shutil.which("apt-get") is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, env=debian.environment(), check=False).stdout


def _run_mmdebstrap(command: list[str], folder: Path, name: str) -> None:
    environment = debian.environment() | {"TMPDIR": str(folder.parent)}
    with tempfile.TemporaryFile("w+", errors="replace") as log, (folder / _ARCHIVE).open("wb") as archive:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=archive, stderr=log, env=environment)
        try:
            exit_code = process.wait(MAKE_TIMEOUT_S)
        except BaseException:
            process.terminate()  # and wait: it takes its mounts and files away
            process.wait()
            raise
        if exit_code:
            log.seek(0)
            raise ClusterError(
                f"{name} cannot be made with mmdebstrap in {folder.parent}: {debian.complaint_of(log.read())}: "
                f"docker load it from a file, or set DEBIAN_MIRROR to a mirror that has {SUITE}"
            )

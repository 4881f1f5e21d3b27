"""The name of an image, `[registry/]name[:tag]` or `[registry/]name@sha256:...`, parsed once at the border."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from scripts.errors import ClusterError
from scripts.hostport import HostPort, is_loopback

# The grammar of Docker's reference package, without its rare corners.
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_HTTPS_PORT = 443


def is_local(registry: str) -> bool:
    """Return whether a registry's `host[:port]` is a loopback address, which no other machine can reach."""
    return is_loopback(registry.rpartition(":")[0] if _has_port(registry) else registry)


def registry_address(registry: str) -> HostPort:
    """Return where a registry listens; without a port that of HTTPS, as Docker has it."""
    return HostPort.parse(registry if _has_port(registry) else f"{registry}:{_HTTPS_PORT}")


def checked_registry(text: str) -> str:
    """Return what stands before the names of images: a registry's `host[:port]`, and a path where it has groups."""
    refuse_login(text)
    registry, slash, path = text.rstrip("/").partition("/")
    if not is_registry(registry) or (slash and not _NAME.fullmatch(path)):
        raise ClusterError(
            f"{text!r} is no registry's address: write it as host:port, such as 10.0.0.5:5000, or as host:port/group"
        )
    return text.rstrip("/")


def refuse_login(registry: str) -> None:
    """Refuse a registry's address with a user and password in it, without showing it."""
    if "@" in registry:
        raise ClusterError(
            "what was given is no registry's address, and is not shown, since a password may be in it: give HOST:PORT "
            "alone, and log in with `docker login HOST:PORT`"
        )


def _has_port(registry: str) -> bool:
    return ":" in registry.rpartition("]")[2]


def _names_a_registry(first: str) -> bool:
    """Return whether Docker takes the first part of a name for a registry, and not for a name at its own hub."""
    return "." in first or ":" in first or first == "localhost"


def is_registry(text: str) -> bool:
    """Return whether a text has the form of a registry's address, `host[:port]`."""
    return _names_a_registry(text) and bool(_REGISTRY.fullmatch(text))


@dataclass(frozen=True)
class ImageRef:
    """The name of an image; `registry` and `digest` may be empty, `tag` only beside a digest."""

    name: str
    tag: str = "latest"
    registry: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str, prefix: str = "") -> ImageRef:
        """Read an image name; one without a registry gets the registry and the path of `prefix`, host[:port][/path]."""
        refuse_login(prefix)
        first, slash, rest = text.partition("/")
        has_registry = slash and _names_a_registry(first)
        path, _, digest = (rest if has_registry else text).partition("@")
        name, colon, tag = path.partition(":")
        registry, _, group = (first, "", "") if has_registry else prefix.partition("/")
        if group and not name.startswith(f"{group}/"):
            name = f"{group}/{name}"
        ref = cls(name, tag if colon else ("" if digest else "latest"), registry, digest)
        if problem := ref._problem():
            refuse_login(registry if digest.startswith("sha256:") else f"{registry}/{text}")
            raise ClusterError(f"{text!r} is not an image name: {problem}; write it as name:tag, such as amqp:v1")
        return ref

    def _problem(self) -> str:
        if self.registry and not is_registry(self.registry):
            return f"the registry {self.registry!r} is not host:port"
        if not _NAME.fullmatch(self.name):
            return "a name is made of a-z, 0-9 and single . _ - between them"
        if self.digest and not _DIGEST.fullmatch(self.digest):
            return "the digest is not sha256: and 64 hex digits"
        if not self.digest and not _TAG.fullmatch(self.tag):
            return "a tag is 1 to 128 of A-Z a-z 0-9 _ . - and begins with none of . -"
        return ""

    @property
    def repository(self) -> str:
        """`[registry/]name`, Docker's name for all tags of an image."""
        return f"{self.registry}/{self.name}" if self.registry else self.name

    def at(self, digest: str) -> ImageRef:
        """Return the same image by its content (`sha256:...`)."""
        return replace(self, digest=digest, tag="")

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"

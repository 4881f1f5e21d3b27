"""What a private registry says over HTTP: whether it is one, and what it holds (the registry's HTTP API V2)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urljoin

import requests

from cluster.image_ref import ImageRef, is_local
from cluster.images import registry_login, registry_tls, registry_token
from scripts.errors import ClusterError, ServiceAway

TIMEOUT_S = 10

_PAGE = 100
_SYSTEM_ERROR = re.compile(r'"Err":(\d+)')  # how the registry tells what its system said: by the number
_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json"
)


@dataclass(frozen=True)
class StoredImage:
    """An image in a registry; `bytes` is what it takes there, compressed; `architectures` only where one was asked for.

    These are empty, too, where the image does not say.
    """

    name: str
    tag: str
    digest: str
    bytes: int
    architectures: frozenset[str] = frozenset()


def answers(registry: str) -> bool:
    """Whether something there speaks the registry's protocol, be it that it asks for a login."""
    try:
        with _Door(registry) as door:
            return _is_registry(door.ask(""))
    except requests.RequestException:
        return False


def check(registry: str) -> None:
    """See that a registry answers, with the certificate and to the login that are kept for it.

    Raises:
        ServiceAway: it does not answer.
        ClusterError: its certificate is not trusted, it does not let us in, or is no registry.
    """
    with _Door(registry) as door:
        if not _is_registry(door.get("")):
            raise _no_registry(registry)


def stored(registry: str, path: str = "", usual: Sequence[str] = ()) -> list[StoredImage]:
    """All images of a registry below a path, by name and tag; asked with the login and the CA that are kept for it.

    Where a registry lists its images for few people alone, only those with `usual` names are found.

    Raises:
        ServiceAway: it does not answer.
        ClusterError: its certificate is not trusted, it does not let us in, or is no registry.
    """
    with _Door(registry) as door:
        try:
            names = [name for name in _names(door) if not path or name.startswith(f"{path}/")]
        except NoRight:
            if not usual:
                raise
            names = list(usual)
        found = [_image(door, name, tag) for name in names for tag in _tags(door, name)]
    return sorted((image for image in found if image), key=lambda image: (image.name, image.tag))


def held(registry: str, name: str, tag: str) -> StoredImage | None:
    """One image of a registry, None where it does not hold it; raises as `stored`."""
    with _Door(registry) as door:
        found = _image(door, name, tag)
        return replace(found, architectures=frozenset(_architectures(door, name, found.digest))) if found else None


def in_registry(ref: ImageRef) -> tuple[ImageRef, frozenset[str]]:
    """Return an image by its content, as its registry has it now, and the architectures that it is built for.

    Raises:
        ServiceAway: the registry does not answer.
        ClusterError: it holds no such image, or no other machine can reach it.
    """
    if is_local(ref.registry):
        raise ClusterError(
            f"{ref}: {ref.registry} is this machine alone, so no host can pull from it: ./inv registry.up --host HOST "
            "sets up one, then name it as registry: in invoke.yaml"
        )
    found = held(ref.registry, ref.name, ref.digest or ref.tag)
    if found is None:
        raise ClusterError(f"the registry holds no {ref}: build and push it first")
    return ref.at(found.digest), found.architectures


def write_problem(registry: str, name: str) -> str:
    """Why a registry takes nothing for an image of this name, in its own words; "" where it does, or says nothing."""
    try:
        with _Door(registry) as door:
            begun = door.ask(f"{name}/blobs/uploads/", "POST")
            if begun.ok:
                door.ask(urljoin(begun.url, begun.headers.get("Location", "")), "DELETE")  # it was never meant
    except requests.RequestException:
        return ""
    number = _SYSTEM_ERROR.search(begun.text)
    return "" if begun.ok else os.strerror(int(number[1])) if number else " ".join(begun.text.split())


class NoRight(ClusterError):
    """The registry takes the login, which may not do this."""


class _Door:
    """Connections to one registry, kept open from question to question."""

    def __init__(self, registry: str) -> None:
        if not registry:
            raise ClusterError("no registry is named: say registry: in invoke.yaml, or --registry HOST:PORT")
        self.registry = registry
        self._access = registry_login.access(registry)
        self._session = requests.Session()
        # No proxy is asked for what is on this machine, nor for a registry of our own.
        self._session.trust_env = not is_local(registry) and not (self._access and self._access.ca)
        self._token: registry_token.Bearer | None = None

    def __enter__(self) -> _Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def ask(self, path: str, method: str = "GET") -> requests.Response:
        """As the Docker Engine does: a loopback address in plain HTTP, any other with TLS; with a token if it must."""
        url = urljoin(f"{'http' if is_local(self.registry) else 'https'}://{self.registry}/v2/", path)
        answer = self._send(method, url, self._token or self._login)
        challenge = registry_token.challenge_of(answer)
        if challenge:
            self._token = registry_token.fetch(
                self.registry, challenge, partial(self._send, "GET", auth=self._login, accept="*/*")
            )
        return self._send(method, url, self._token) if challenge and self._token else answer

    @property
    def _login(self) -> tuple[str, str] | None:
        return (self._access.user, self._access.password) if self._access else None

    def _send(self, method: str, url: str, auth: Any, accept: str = _MANIFESTS, **options: Any) -> requests.Response:
        verify = str(self._access.ca) if self._access and self._access.ca else True
        headers = {"Accept": accept}
        return self._session.request(
            method, url, auth=auth, verify=verify, headers=headers, timeout=TIMEOUT_S, **options
        )

    def get(self, path: str) -> requests.Response:
        """An answer that is neither an error nor a refusal, or a 404."""
        try:
            answer = self.ask(path)
        except requests.exceptions.SSLError as error:
            raise registry_tls.failure(self.registry, error) from error
        except requests.RequestException as error:
            remedy = (
                "start it with `./inv registry.up`" if is_local(self.registry) else "see `registry:` in invoke.yaml"
            )
            raise ServiceAway(f"no registry answers at {self.registry}: {remedy}") from error
        forbidden = answer.status_code == requests.codes.forbidden
        if self._access and (forbidden or (self._token and answer.status_code == requests.codes.unauthorized)):
            raise NoRight(
                f"the registry {self.registry} takes the login of {self._access.user}, which has no right to "
                f"/v2/{path}: ask whoever runs it for the right"
            )
        if forbidden or answer.status_code == requests.codes.unauthorized:
            raise ClusterError(registry_login.refused(self.registry))
        if answer.status_code != requests.codes.not_found and not answer.ok:
            raise ClusterError(
                f"the registry {self.registry} fails: {answer.status_code} {answer.reason} for /v2/{path}"
            )
        return answer

    def json(self, path: str) -> dict[str, Any]:
        """The object that the registry answers with."""
        try:
            answer = self.get(path).json()
        except (requests.JSONDecodeError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _no_registry(self.registry)
        return answer


def _is_registry(answer: requests.Response) -> bool:
    return answer.headers.get("Docker-Distribution-Api-Version") == "registry/2.0"


def _no_registry(registry: str) -> ClusterError:
    return ClusterError(f"what answers at {registry} is no registry: see `registry:` in invoke.yaml")


def _names(door: _Door) -> Iterator[str]:
    """The catalog comes in pages."""
    last = ""
    while True:
        page = door.json(f"_catalog?n={_PAGE}{last}").get("repositories") or []
        yield from page
        if len(page) < _PAGE:
            return
        last = f"&last={page[-1]}"


def _tags(door: _Door, name: str) -> list[str]:
    """Its tags; an image whose tags were all deleted has null, or is not found at all."""
    return door.json(f"{name}/tags/list").get("tags") or []


def _image(door: _Door, name: str, tag: str) -> StoredImage | None:
    answer = door.get(f"{name}/manifests/{tag}")
    if answer.status_code == requests.codes.not_found:
        return None  # deleted since it was listed
    manifest = answer.json()
    parts = [manifest.get("config", {}), *manifest.get("layers", []), *manifest.get("manifests", [])]
    size = sum(int(part.get("size", 0)) for part in parts)
    return StoredImage(name, tag, answer.headers.get("Docker-Content-Digest", ""), size)


def _architectures(door: _Door, name: str, digest: str) -> Iterator[str]:
    """An image of several has a list of images; of one its configuration tells."""
    manifest = door.json(f"{name}/manifests/{digest}")
    if "manifests" in manifest:
        found = [one.get("platform") or {} for one in manifest["manifests"]]
    else:
        found = [door.json(f"{name}/blobs/{(manifest.get('config') or {}).get('digest', '')}")]
    yield from (one["architecture"] for one in found if one.get("architecture") not in (None, "", "unknown"))

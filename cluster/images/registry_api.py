"""A private registry over HTTP: its images and its certificate (the registry's HTTP API V2)."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urljoin, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import requests
from cryptography import x509

from cluster.image_ref import ImageRef, is_local, registry_address
from cluster.images import registry_login
from cluster.images.registry_errors import Trouble, failure, tls_failure
from scripts.errors import ClusterError, ServiceAway
from scripts.hostport import is_loopback

TIMEOUT_S = 10

_PAGE = 100
_SYSTEM_ERROR = re.compile(r'"Err":(\d+)')  # how the registry tells what its system said: by the number
_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json"
)
_BEARER = "bearer "
_REFUSALS = (requests.codes.unauthorized, requests.codes.forbidden)


@dataclass(frozen=True)
class StoredImage:
    """An image in a registry; `bytes` is its compressed size there."""

    name: str
    tag: str
    digest: str
    bytes: int


class NoRight(ClusterError):
    """The registry takes the login, which may not do this."""


def answers(registry: str) -> bool:
    """Return whether a registry is there, even if it asks for a login."""
    try:
        with RegistryClient(registry) as client:
            return _is_registry(client.ask(""))
    except requests.RequestException:
        return False


def check(registry: str) -> None:
    """See that a registry answers, with the certificate and to the login that are kept for it.

    Raises:
        ServiceAway: it does not answer.
        ClusterError: its certificate is not trusted, it does not let us in, or is no registry.
    """
    with RegistryClient(registry) as client:
        if not _is_registry(client.get("")):
            raise _no_registry(registry)


def lets_us_in(registry: str) -> bool:
    """Return whether there is a login for a registry that it takes."""
    try:
        if access := registry_login.access(registry):
            check(registry)
    except ClusterError:
        return False
    return access is not None


def stored(registry: str, path: str = "", usual: Sequence[str] = ()) -> list[StoredImage]:
    """Return all images of a registry below a path, by name and tag; raises as `check`.

    Where a registry lists its images for few people alone, only those with `usual` names are found.
    """
    with RegistryClient(registry) as client:
        try:
            names = [name for name in client.names() if not path or name.startswith(f"{path}/")]
        except NoRight:
            if not usual:
                raise
            names = list(usual)
        found = [client.image(name, tag) for name in names for tag in client.tags(name)]
    return sorted((image for image in found if image), key=lambda image: (image.name, image.tag))


def in_registry(ref: ImageRef) -> tuple[ImageRef, frozenset[str]]:
    """Return an image by its content, as its registry has it now, and the architectures that it is built for."""
    refuse_local(ref.registry)
    with RegistryClient(ref.registry) as client:
        found = client.image(ref.name, ref.digest or ref.tag)
        if found is None:
            raise ClusterError(
                f"the registry holds no {ref}: build and push it first (./inv worker.build, ./inv queue.build)"
            )
        return ref.at(found.digest), frozenset(client.architectures(ref.name, found.digest))


def labels_of(ref: ImageRef, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Return the labels of an image in its registry; none where it is several, for as many architectures."""
    with RegistryClient(ref.registry, timeout_s) as client:
        found = (client.configuration(ref.name, ref.digest or ref.tag).get("config") or {}).get("Labels")
    return found if isinstance(found, dict) else {}


def refuse_local(registry: str) -> None:
    """Raise ClusterError for a registry that no other machine can reach."""
    if is_local(registry):
        raise ClusterError(
            f"{registry} is this machine alone, so no host can pull from it: ./inv registry.up --host HOST sets up "
            "one, then name it as registry: in invoke.yaml"
        )


def write_problem(registry: str, name: str) -> str:
    """Return why a registry takes nothing for an image of this name, in its own words; empty where it says nothing."""
    try:
        with RegistryClient(registry) as client:
            begun = client.ask(f"{name}/blobs/uploads/", "POST")
            if begun.ok:
                client.ask(urljoin(begun.url, begun.headers.get("Location", "")), "DELETE")  # it was never meant
    except requests.RequestException:
        return ""
    number = _SYSTEM_ERROR.search(begun.text)
    return "" if begun.ok else os.strerror(int(number[1])) if number else " ".join(begun.text.split())


def certificate(registry: str) -> x509.Certificate:
    """Return the certificate that a registry shows, trusted or not.

    Raises:
        ServiceAway: nothing answers there, or without TLS.
    """
    address = registry_address(registry)
    try:
        shown = ssl.get_server_certificate((address.host, address.port), timeout=TIMEOUT_S)
        return x509.load_pem_x509_certificate(shown.encode())
    except (OSError, ValueError) as error:
        raise ServiceAway(
            f"nothing at {registry} answers with TLS ({error}): see `registry:` in invoke.yaml"
        ) from error


class RegistryClient:
    """Connections to one registry, kept open from question to question."""

    def __init__(self, registry: str, timeout_s: float = TIMEOUT_S) -> None:
        if not registry:
            raise ClusterError("no registry is named: say registry: in invoke.yaml, or --registry HOST:PORT")
        self.registry, self._timeout_s = registry, timeout_s
        self._access = registry_login.access(registry)
        self._login = (self._access.user, self._access.password) if self._access else None
        self._session = requests.Session()
        self._session.auth = self._login
        self._session.verify = str(self._access.ca) if self._access and self._access.ca else True
        self._session.headers["Accept"] = _MANIFESTS
        # No proxy is asked for what is on this machine, nor for a registry of our own.
        self._session.trust_env = not is_local(registry) and not (self._access and self._access.ca)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def ask(self, path: str, method: str = "GET") -> requests.Response:
        """Send a request as the Docker Engine does: plain HTTP to a loopback address, else TLS; a token on demand."""
        url = urljoin(f"{'http' if is_local(self.registry) else 'https'}://{self.registry}/v2/", path)
        answer = self._session.request(method, url, timeout=self._timeout_s)
        challenge = _challenge_of(answer)
        if not challenge or not (token := self._token(challenge)):
            return answer
        self._session.auth, self._session.headers["Authorization"] = _nobody, f"Bearer {token}"
        return self._session.request(method, url, timeout=self._timeout_s)

    def _token(self, challenge: dict[str, str]) -> str:
        """Return the token that a challenge wants, empty where the login is not taken.

        It is another server's, as with Harbor, GitLab and Docker's own (RFC 6750, and the registry's Token
        Authentication Specification).
        """
        realm = challenge.get("realm", "")
        place = f"the registry {self.registry} wants a token of {realm!r}"
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ClusterError(f"{place}, which a password is not sent to: it is no https address")
        wanted = [("service", challenge.get("service", ""))]
        wanted += [("scope", scope) for scope in challenge.get("scope", "").split(" ") if scope]
        try:
            answer = self._session.get(
                realm, params=wanted, auth=self._login or _nobody, timeout=self._timeout_s,
                headers={"Accept": "*/*", "Authorization": None},  # not the token that was for another question
            )  # fmt: skip
        except requests.RequestException as error:
            raise ServiceAway(f"{place}, and nothing answers there ({type(error).__name__}): is it up?") from error
        if answer.status_code in _REFUSALS:
            return ""
        try:
            made = answer.json()
            return str(made.get("token") or made["access_token"])
        except (requests.JSONDecodeError, KeyError, AttributeError):
            raise ClusterError(f"{place}, which makes none: it answers {answer.status_code} {answer.reason}") from None

    def get(self, path: str) -> requests.Response:
        """Return an answer that is neither an error nor a refusal, or a 404."""
        try:
            answer = self.ask(path)
        except requests.exceptions.SSLError as error:
            raise tls_failure(self.registry, error) from error
        except requests.RequestException as error:
            raise failure(self.registry, Trouble.AWAY) from error
        if answer.status_code in _REFUSALS:
            raise self._refusal(path, answer)
        if answer.status_code != requests.codes.not_found and not answer.ok:
            raise ClusterError(
                f"the registry {self.registry} fails: {answer.status_code} {answer.reason} for /v2/{path}"
            )
        return answer

    def _refusal(self, path: str, answer: requests.Response) -> ClusterError:
        if self._access and (self._session.auth != self._login or answer.status_code == requests.codes.forbidden):
            return NoRight(str(failure(self.registry, Trouble.NO_RIGHT, what=f"/v2/{path}")))
        return failure(self.registry, Trouble.LOGIN)

    def json(self, path: str) -> dict[str, Any]:
        """Return the object that the registry answers with."""
        try:
            answer = self.get(path).json()
        except (requests.JSONDecodeError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _no_registry(self.registry)
        return answer

    def names(self) -> Iterator[str]:
        """Return the names of all images, which come in pages."""
        last = ""
        while True:
            page = self.json(f"_catalog?n={_PAGE}{last}").get("repositories") or []
            yield from page
            if len(page) < _PAGE:
                return
            last = f"&last={page[-1]}"

    def tags(self, name: str) -> list[str]:
        """Return an image's tags; one whose tags were all deleted has null, or is not found at all."""
        return self.json(f"{name}/tags/list").get("tags") or []

    def image(self, name: str, tag: str) -> StoredImage | None:
        """Return an image, None where it is not there, such as when it was deleted since it was listed."""
        answer = self.get(f"{name}/manifests/{tag}")
        if answer.status_code == requests.codes.not_found:
            return None
        manifest = answer.json()
        parts = [manifest.get("config", {}), *manifest.get("layers", []), *manifest.get("manifests", [])]
        size = sum(int(part.get("size", 0)) for part in parts)
        return StoredImage(name, tag, answer.headers.get("Docker-Content-Digest", ""), size)

    def architectures(self, name: str, digest: str) -> Iterator[str]:
        """Return the architectures of an image: of several it has a list, of one its configuration tells."""
        manifest = self.json(f"{name}/manifests/{digest}")
        if "manifests" in manifest:
            found = [one.get("platform") or {} for one in manifest["manifests"]]
        else:
            found = [self.configuration(name, digest)]
        yield from (one["architecture"] for one in found if one.get("architecture") not in (None, "", "unknown"))

    def configuration(self, name: str, digest: str) -> dict[str, Any]:
        """Return the configuration of an image; empty where it is several, for as many architectures."""
        config = self.json(f"{name}/manifests/{digest}").get("config") or {}
        return self.json(f"{name}/blobs/{config['digest']}") if config.get("digest") else {}


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send no login, also none of ~/.netrc."""
    return request


def _challenge_of(answer: requests.Response) -> dict[str, str]:
    """Return the realm, service and scope for which a refusal wants a token; empty where it wants none."""
    said = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != requests.codes.unauthorized or not said.lower().startswith(_BEARER):
        return {}
    return parse_keqv_list([part for part in parse_http_list(said[len(_BEARER) :]) if "=" in part])


def _is_registry(answer: requests.Response) -> bool:
    return answer.headers.get("Docker-Distribution-Api-Version") == "registry/2.0"


def _no_registry(registry: str) -> ClusterError:
    return ClusterError(f"what answers at {registry} is no registry: see `registry:` in invoke.yaml")

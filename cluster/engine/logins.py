"""Logins that the docker command keeps on this machine, in config.json or with a credential helper.

The SDK asks every helper there is before a build, waits for it for ever, and knows its failures as bugs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import docker
from docker import auth
from docker.utils.config import find_config_file

from cluster import programs
from cluster.image_ref import is_local
from scripts.errors import ClusterError
from scripts.one_line import one_line

HELPER_TIMEOUT_S = 20

_ABSENT = "credentials not found"  # docker-credential-helpers' words, with exit 1
_TOKEN = "<token>"  # the user's name where the secret is a token
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*([^\s/$]+)/", re.IGNORECASE | re.MULTILINE)


def of(registry: str) -> dict[str, str]:
    """Return the login for a registry as the SDK takes it; empty if docker has none."""
    return Logins(auth.load_config()).resolve_authconfig(registry) or {}


def of_build(client: docker.DockerClient, dockerfile: str) -> None:
    """Give a build the logins of the registries that its base images come from; no helper is asked for others."""
    client.api._auth_configs = Logins(client.api._auth_configs, _FROM.findall(dockerfile))


class Logins(auth.AuthConfig):  # type: ignore[misc]
    """The logins in config.json; its credential helpers are asked for `registries` alone."""

    def __init__(self, config: dict[str, Any], registries: Iterable[str] = ()) -> None:
        super().__init__(config)
        self._registries = list(registries)

    def resolve_authconfig(self, registry: str | None = None) -> Any:
        """Return the login for a registry, None if there is none."""
        registry = registry or auth.INDEX_NAME
        helper = self.get_credential_store(registry)
        if is_local(registry) and registry not in (self.cred_helpers or {}) and registry not in self.auths:
            helper = ""  # the helper for all has nothing for a registry of this machine that docker never used
        found = _ask(helper, registry) if helper else None
        return found or auth.AuthConfig({"auths": self.auths}).resolve_authconfig(registry)

    def get_all_credentials(self) -> dict[str, Any]:
        """Return the logins that a build gets."""
        asked = {registry: self.resolve_authconfig(registry) for registry in self._registries}
        return {**self.auths} | {registry: login for registry, login in asked.items() if login}


def _ask(helper: str, registry: str) -> dict[str, str] | None:
    """Ask a helper by its protocol: the registry on STDIN, JSON or the failure's reason on STDOUT."""
    program = f"docker-credential-{helper}"
    who = f"the credential helper {program} of {find_config_file()}, which has the login of {registry},"
    step = "mend it, or take it out of that file"
    if not shutil.which(program):
        raise ClusterError(f"{who} is not installed: install it, or take it out of that file")
    server = auth.INDEX_URL if registry == auth.INDEX_NAME else registry
    try:
        done = programs.run([program, "get"], server.encode(), limit_s=HELPER_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{who} did not answer within {HELPER_TIMEOUT_S} s: {step}") from error
    except OSError as error:
        raise ClusterError(f"{who} cannot be run: {error.strerror}: {step}") from error
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode:
        if _ABSENT in said.lower():
            return None
        raise ClusterError(f"{who} fails: {one_line(said) or f'exit {done.returncode}'}: {step}")
    return _login(done.stdout, f"{who} does not answer as one: {step}")


def _login(answer: bytes, problem: str) -> dict[str, str] | None:
    try:
        found = json.loads(answer)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ClusterError(problem) from None
    if not user and not secret:
        return None
    return {"identitytoken": secret} if user == _TOKEN else {"username": user, "password": secret}

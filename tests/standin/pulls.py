"""Pulling an image on an agent, with the credentials that `fetch` brought (src/slave/containerizer/docker.cpp)."""

from __future__ import annotations

import io
import json
import tarfile
from base64 import b64decode
from typing import Any

import docker.errors
from docker.auth import resolve_repository_name
from docker.utils import parse_repository_tag

from tests.standin.agents import Agent

# An entry of `fetch` and the file's content.
Files = list[tuple[dict[str, Any], bytes]]


class LaunchFailed(Exception):
    """The task did not come to run; the message is its status'."""


def fetched(agent: Agent, app: dict[str, Any]) -> Files:
    """The files that the app wants in its sandbox; raises LaunchFailed when one cannot be had."""
    files = []
    for item in app.get("fetch", []):
        path = item["uri"].removeprefix("file://")
        if agent.read_file is None or not path.startswith("/"):
            raise LaunchFailed(f"Failed to launch container: Failed to fetch all URIs for container: {item['uri']}")
        try:
            files.append((item, agent.read_file(path)))
        except Exception as error:
            text = f"Failed to launch container: Failed to fetch all URIs for container: exited with status 1 ({error})"
            raise LaunchFailed(text) from error
    return files


def pull(agent: Agent, app: dict[str, Any], files: Files) -> None:
    """Have the image on the agent: no pull when it is there, unless forced."""
    wanted = app["container"]["docker"]
    if not wanted["forcePullImage"] and _is_there(agent, wanted["image"]):
        return
    name, tag = parse_repository_tag(wanted["image"])
    login = credentials(files, resolve_repository_name(name)[0])
    try:
        for line in agent.client.api.pull(name, tag or "latest", stream=True, decode=True, auth_config=login):
            if "error" in line:
                raise LaunchFailed(_pull_failed(wanted["image"], line["error"]))
    except docker.errors.APIError as error:
        raise LaunchFailed(_pull_failed(wanted["image"], f"Error response from daemon: {error.explanation}")) from error


def _is_there(agent: Agent, image: str) -> bool:
    try:
        agent.client.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def _pull_failed(image: str, said: str) -> str:
    """What the docker command said: an engine's refusal, or an error in the middle without those words before it."""
    return (
        "Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock "
        f"pull {image}': exited with status 1; stderr='{said}\n'"
    )


def credentials(files: Files, registry: str) -> dict[str, str]:
    """The login for a registry in a fetched archive's .docker/config.json (HOME is the sandbox); empty: none."""
    for item, content in files:
        if not item["extract"]:
            continue
        config = _member(content, ".docker/config.json")
        auth = json.loads(config).get("auths", {}).get(registry, {}).get("auth", "") if config else ""
        if auth:
            user, _, password = b64decode(auth).decode().partition(":")
            return {"username": user, "password": password, "serveraddress": registry}
    return {}


def _member(archive: bytes, name: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            found = [member for member in tar.getmembers() if member.name.removeprefix("./") == name]
            reader = tar.extractfile(found[0]) if found else None
            return reader.read() if reader else b""
    except tarfile.TarError:
        return b""

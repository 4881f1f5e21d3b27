"""Containers as the engine's socket describes them, for questions that need no SDK."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

from cluster.engine import sdk
from cluster.engine.unix_socket import EngineSocket, NoAnswer

CHECK_S = 10  # how long a health check may take when it is run by us


class Found:
    """A container as the engine's socket describes it; what is more than to look at it, the SDK's does."""

    def __init__(self, attrs: dict[str, Any], socket: EngineSocket, client: Callable[[], sdk.DockerClient]) -> None:
        self.attrs, self._socket, self._client_of = attrs, socket, client

    @property
    def name(self) -> str:
        """The name, without the slash that the engine writes."""
        return str(self.attrs["Name"]).lstrip("/")

    @property
    def labels(self) -> dict[str, str]:
        """The labels, by name."""
        return self.attrs["Config"]["Labels"] or {}

    @property
    def status(self) -> str:
        """The engine's word for the state."""
        return str(self.attrs["State"]["Status"])

    def succeeds(self, command: str) -> bool:
        """Run a shell command in it; return True when it succeeds in time."""
        with suppress(NoAnswer):  # it ended meanwhile
            return self._socket.exit_code(self.attrs["Id"], command, CHECK_S) == 0
        return False

    def top(self, ps_args: str) -> dict[str, Any]:
        """Return its processes, in the SDK's words; none where it has ended meanwhile."""
        with suppress(NoAnswer):
            return {"Processes": self._socket.processes(self.attrs["Id"], ps_args)}
        return {"Processes": []}

    def reload(self) -> None:
        """Look anew."""
        self._sdks.reload()
        self.attrs = self._sdks.attrs

    @cached_property
    def _sdks(self) -> Any:
        return self._client_of().containers.prepare_model(self.attrs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sdks, name)

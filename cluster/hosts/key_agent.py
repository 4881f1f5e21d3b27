"""The keys of an ssh-agent. Paramiko's own way knows that of SSH_AUTH_SOCK alone and waits for its answer for ever."""

from __future__ import annotations

import socket

from paramiko.agent import AgentSSH
from paramiko.ssh_exception import SSHException

# An agent may ask the person to touch a key or to agree; in a batch run nobody will.
PATIENCE_S = 30


class KeyAgent(AgentSSH):  # type: ignore[misc]
    """The agent at a socket; one that is not there has no keys."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(path)
            self._connect(connection)
        except (OSError, SSHException):
            connection.close()

    def close(self) -> None:
        """Leave it; SSHClient calls this when it is closed."""
        self._close()

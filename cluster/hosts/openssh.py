"""OpenSSH's own programs, asked for what they know best: configurations, known hosts, fingerprints."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from cluster import programs
from scripts.errors import ClusterError

# A `Match exec` or a KnownHostsCommand of the person's may ask other machines.
TIMEOUT_S = 30


def ask(command: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    try:
        return programs.run(command, stdin, limit_s=TIMEOUT_S)
    except FileNotFoundError as error:
        step = ": apt-get install openssh-client" if command[0].startswith("ssh") else ""
        raise ClusterError(f"there is no {command[0]} on this machine{step}") from error
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(command)}` did not end within {TIMEOUT_S} s: try it by hand") from error


def fingerprints(file: str, stdin: bytes = b"") -> list[str]:
    """Return the keys in a file (`-`: in `stdin`) as ssh shows them, `SHA256:...`; a certificate shows its key.

    A private key needs no passphrase for it, unless it is of an old format.
    """
    shown = ask(["ssh-keygen", "-l", "-E", "sha256", "-f", file], stdin).stdout.decode(errors="replace")
    return [line.split()[1] for line in shown.splitlines() if " SHA256:" in line]

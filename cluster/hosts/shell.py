"""A shell on some machine, this one or a host over SSH: commands, files, and how to reach what listens there."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass

from scripts.errors import ClusterError
from scripts.hostport import HostPort
from scripts.one_line import one_line

COMMAND_TIMEOUT_S = 60.0
BY_A_SIGNAL = -1

_ABSENT, _CUT_SHORT = 44, 45
_FULL = b"No space left on device"
_READ = f'export LC_ALL=C; [ -e "$1" ] || exit {_ABSENT}; cat -- "$1"'
# A link stays one, and what it points to is written. The new content is put beside the old one and takes its place
# at once; a connection that breaks in the middle ends STDIN early, so the length is looked at.
_WRITE = f"""
set -eu; export LC_ALL=C; umask 022
mkdir -p -- "$(dirname -- "$1")"
path=$(readlink -f -- "$1")
new=$(mktemp "$(dirname -- "$path")/.cluster.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat >"$new"
[ "$(wc -c <"$new")" -eq "$2" ] || exit {_CUT_SHORT}
if [ -n "$4" ]; then chown -- "$4" "$new"; fi
chmod -- "$3" "$new"
facts() {{ stat -c "%a %u %g" -- "$1"; }}
if [ -f "$path" ] && cmp -s -- "$path" "$new" && [ "$(facts "$path")" = "$(facts "$new")" ]; then
    echo same
else
    mv -f -- "$new" "$path"
    echo changed
fi
"""


@dataclass(frozen=True)
class Ran:
    """A command that ended by itself; the code is -1 when a signal ended it."""

    code: int
    out: bytes
    err: bytes

    @property
    def reason(self) -> str:
        """The last line that it printed, for an error."""
        lines = (self.err.strip() or self.out.strip()).decode(errors="replace").splitlines()
        ended = "a signal ended it" if self.code == BY_A_SIGNAL else f"exit code {self.code}"
        return one_line(lines[-1]) if lines else ended


class Shell(ABC):
    """A machine where commands run under /bin/sh, as the user; `name` is for people, and errors begin with it."""

    name: str

    @abstractmethod
    def run(
        self, command: str, *, input: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S  # noqa: A002 (as subprocess)
    ) -> Ran:  # fmt: skip
        """Run a command and return how it ended, whatever its exit code.

        Raises:
            ClusterError: it did not end in time.
            ServiceAway: the machine went away.
        """

    @abstractmethod
    def reach(self, address: HostPort) -> HostPort:
        """Return the address to which this machine connects to get to `address` as that machine knows it.

        Raises:
            ServiceAway: there is no way.
        """

    def step(self, doing: str, command: str) -> bytes:
        """Run a command that must succeed and return its output; the error begins with `doing`."""
        return self._output(doing, self.run(command))

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None if there is no file."""
        return self._content(path, self.run(reading(path)))

    def write(self, path: str, content: bytes, *, mode: int) -> bool:
        """Put a file there at once, with its folders; return False if it was there already, just so."""
        return self._is_new(path, self.run(writing(path, content, mode), input=content))

    def _output(self, doing: str, ran: Ran) -> bytes:
        if ran.code:
            raise ClusterError(f"{self.name}: {doing}: {ran.reason}")
        return ran.out

    def _content(self, path: str, ran: Ran) -> bytes | None:
        return None if ran.code == _ABSENT else self._output(f"read {path}", ran)

    def _is_new(self, path: str, ran: Ran) -> bool:
        if ran.code:
            raise ClusterError(f"{self.name}: write {path}: {_why_not_written(path, ran)}")
        return ran.out.strip() == b"changed"


class ThisMachine(Shell):
    """This machine, as the user who runs us."""

    name = "this machine"

    def run(
        self, command: str, *, input: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S  # noqa: A002 (as subprocess)
    ) -> Ran:  # fmt: skip
        """Run a command in a session of its own, so that all it has started ends with it when it takes too long."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        with process:
            try:
                out, err = process.communicate(input, timeout_s)
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise ClusterError(f"{self.name}: not done within {timeout_s:g} s, ended: {command}") from error
            except BaseException:
                _kill(process)
                raise
        return Ran(BY_A_SIGNAL if process.returncode < 0 else process.returncode, out, err)

    def reach(self, address: HostPort) -> HostPort:
        """Return the address itself."""
        return address


def reading(path: str) -> str:
    """Return the command that prints a file."""
    return _script(_READ, path)


def writing(path: str, content: bytes, mode: int, owner: str = "") -> str:
    """Return the command that writes its STDIN, which is `content`, to a file; `owner` is `user:group`."""
    return _script(_WRITE, path, str(len(content)), f"{mode:o}", owner)


def _script(script: str, *args: str) -> str:
    """Give a script its arguments, as one command."""
    return f"set -- {shlex.join(args)}; {script}"


def _why_not_written(path: str, ran: Ran) -> str:
    if _FULL in ran.err:
        return f"the disk is full there: df -h {shlex.quote(path.rpartition('/')[0] or '/')}"
    return "it did not arrive whole; the old file stays: run this again" if ran.code == _CUT_SHORT else ran.reason


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

"""A command of the person's on every host: its lines as they come, each with the host's name in front."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.hosts.execution import BY_A_SIGNAL, Ran, Show
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.together import Outcome, Say, refuse, together
from cluster.settings import Settings
from scripts.errors import ClusterError

_CONNECTS = 4  # TCP, the banner, the login and the first channel have a limit each
# The limit is kept over there, by timeout(1), so that nothing goes on when we have given up; it says 124 then. Where
# there is no such command, or it does not help, the connection is cut a little later.
_LIMITED = (
    "if command -v timeout >/dev/null; then exec timeout -k {kill} {limit} sh -c {command}; fi; exec sh -c {command}"
)
_KILL_AFTER_S, _LATER_S = 5, 10
_OVER = 124


@dataclass(frozen=True)
class Command:
    """What is run on each host, under /bin/sh, and for how long at most."""

    line: str
    sudo: bool
    timeout_s: float

    def on(self, remote: Remote, show: Show | None) -> Ran:
        """Run it; lines are shown as they come."""
        words = {"kill": _KILL_AFTER_S, "limit": f"{self.timeout_s:f}", "command": shlex.quote(self.line)}
        return remote.run(
            _LIMITED.format(**words), sudo=self.sudo, timeout_s=self.timeout_s + _LATER_S, show=show
        )  # fmt: skip


def run(
    settings: Settings, hosts: Sequence[Host], command: Command, *, as_json: bool, dry_run: bool, say: Say,
    result: Callable[[str], None],
) -> None:  # fmt: skip
    """Run a command on all hosts. Its STDOUT lines are results, its STDERR lines are said; or all as JSON.

    Raises:
        ClusterError: no command, or it failed on hosts, or hosts were not reached.
    """
    if not command.line.strip():
        raise ClusterError("no command: give --command '...', for /bin/sh on each host")
    if dry_run:
        for host in hosts:
            say(f"{host}: would run{' as root' * command.sudo}: {command.line}")
        return
    outcomes = together(
        settings, hosts, _act(command, None if as_json else _Printer(say, result)), doing=f"run {command.line}",
        timeout_s=command.timeout_s + _LATER_S + _CONNECTS * settings.agents.timeout_s, say=say, table=as_json,
        told=lambda ran: f"exit code {ran.code}",
    )  # fmt: skip
    if as_json:
        result(json.dumps([_as_dict(outcome) for outcome in outcomes], indent=2))
    failures = {outcome.host: _failure(outcome, command) for outcome in outcomes}
    for failure in filter(None, failures.values()):
        say(failure)
    refuse("run the command", [host for host, failure in failures.items() if failure], len(outcomes))


class _Printer:
    """Prints lines of many hosts, one at a time."""

    def __init__(self, say: Say, result: Callable[[str], None]) -> None:
        self._say, self._result = say, result
        self._one_at_a_time = threading.Lock()

    def of(self, name: str) -> Show:
        """What prints the lines of this host."""

        def line(text: bytes, is_error: bool) -> None:
            with self._one_at_a_time:
                (self._say if is_error else self._result)(f"{name}: {text.decode(errors='replace')}")

        return line


def _act(command: Command, printer: _Printer | None) -> Callable[[Remote, Callable[[str], None]], Ran]:
    return lambda remote, show: command.on(remote, printer.of(remote.name) if printer else None)


def _failure(outcome: Outcome[Ran], command: Command) -> str:
    """Why a host counts as failed, "" when it does not."""
    ran = outcome.value
    if outcome.error or ran is None:
        return str(outcome.error)
    ended = {_OVER: f"ended by the time limit of {command.timeout_s:g} s (exit code {_OVER})", BY_A_SIGNAL: ran.reason}
    return f"{outcome.host}: {ended.get(ran.code, f'exit code {ran.code}')}" if ran.code else ""


def _as_dict(outcome: Outcome[Ran]) -> dict[str, object]:
    ran = outcome.value
    return {
        "host": str(outcome.host),
        "exit": ran.code if ran else None,
        "stdout": ran.out.decode(errors="replace") if ran else "",
        "stderr": ran.err.decode(errors="replace") if ran else "",
        "error": str(outcome.error) if outcome.error else "",
    }

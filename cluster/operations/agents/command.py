"""A command of the person's on every host: its lines as they come, each with the host's name in front."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from cluster.hosts.all_hosts import Outcome, Say, Show, on_all_hosts, values
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.shell import BY_A_SIGNAL, Ran
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


def run(
    settings: Settings, hosts: Sequence[Host], command: str, *, sudo: bool, timeout_s: float, as_json: bool,
    dry_run: bool, say: Say, result: Callable[[str], None],
) -> None:  # fmt: skip
    """Run a line for /bin/sh on all hosts. Its STDOUT lines are results, its STDERR lines are said; or all as JSON."""
    if not command.strip():
        raise ClusterError("no command: give --command '...', for /bin/sh on each host")
    if dry_run:
        for host in hosts:
            say(f"{host}: would run{' as root' * sudo}: {command}")
        return
    one_at_a_time = threading.Lock()

    def act(remote: Remote, show: Show) -> Ran:
        def print_line(line: bytes, is_error: bool) -> None:
            with one_at_a_time:
                (say if is_error else result)(f"{remote.name}: {line.decode(errors='replace')}")

        line = _LIMITED.format(kill=_KILL_AFTER_S, limit=f"{timeout_s:f}", command=shlex.quote(command))
        on_line = None if as_json else print_line
        return remote.run(line, sudo=sudo, timeout_s=timeout_s + _LATER_S, on_line=on_line)

    outcomes = on_all_hosts(
        settings, hosts, act, doing=f"run {command}", say=say, table=as_json,
        timeout_s=timeout_s + _LATER_S + _CONNECTS * settings.agents.timeout_s,
        describe=lambda ran: f"exit code {ran.code}",
    )  # fmt: skip
    if as_json:
        result(json.dumps([_as_dict(outcome) for outcome in outcomes], indent=2))
    values([_judged(outcome, timeout_s) for outcome in outcomes], "run the command", say)


def _judged(outcome: Outcome[Ran], timeout_s: float) -> Outcome[Ran]:
    """Make a failure of a command that did not exit with 0."""
    ran = outcome.value
    if ran is None or not ran.code:
        return outcome
    ended = {_OVER: f"ended by the time limit of {timeout_s:g} s (exit code {_OVER})", BY_A_SIGNAL: ran.reason}
    return replace(outcome, error=ClusterError(f"{outcome.host}: {ended.get(ran.code, f'exit code {ran.code}')}"))


def _as_dict(outcome: Outcome[Ran]) -> dict[str, object]:
    ran = outcome.value
    return {
        "host": str(outcome.host),
        "exit": ran.code if ran else None,
        "stdout": ran.out.decode(errors="replace") if ran else "",
        "stderr": ran.err.decode(errors="replace") if ran else "",
        "error": str(outcome.error) if outcome.error else "",
    }

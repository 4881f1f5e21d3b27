"""A command of the person's on every host: its lines as they come, each with the host's name in front."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence

from cluster.hosts.execution import Ran
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.together import Outcome, Say, Show, refuse, together
from cluster.settings import Settings
from scripts.errors import ClusterError

_CONNECTS = 4  # TCP, the banner, the login and the first channel have a limit each


def run(
    settings: Settings, hosts: Sequence[Host], command: str, *, sudo: bool, timeout_s: float, as_json: bool,
    dry_run: bool, say: Say, result: Callable[[str], None],
) -> None:  # fmt: skip
    """Run a command of /bin/sh on all hosts. Its STDOUT lines are results, its STDERR lines are said; or all as JSON.

    Raises:
        ClusterError: no command, or it failed on hosts, or hosts were not reached.
    """
    if not command.strip():
        raise ClusterError("no command: give --command '...', for /bin/sh on each host")
    if dry_run:
        for host in hosts:
            say(f"{host}: would run{' as root' * sudo}: {command}")
        return
    printing = threading.Lock()

    def act(remote: Remote, show: Show) -> Ran:
        def line(text: bytes, is_error: bool) -> None:
            with printing:
                (say if is_error else result)(f"{remote.name}: {text.decode(errors='replace')}")

        return remote.run(command, sudo=sudo, timeout_s=timeout_s, show=None if as_json else line)

    outcomes = together(
        settings, hosts, act, doing=command, timeout_s=timeout_s + _CONNECTS * settings.agents.timeout_s, say=say,
        table=as_json, told=lambda ran: f"exit code {ran.code}",
    )  # fmt: skip
    if as_json:
        result(json.dumps([_as_dict(outcome) for outcome in outcomes], indent=2))
    failed = [outcome for outcome in outcomes if _failure(outcome)]
    for outcome in failed:
        say(_failure(outcome))
    refuse("run the command", [outcome.host for outcome in failed], len(outcomes))


def _failure(outcome: Outcome[Ran]) -> str:
    if outcome.error:
        return str(outcome.error)
    ran = outcome.value
    if ran is None or ran.code == 0:
        return ""
    return f"{outcome.host}: " + ("a signal ended the command" if ran.code < 0 else f"exit code {ran.code}")


def _as_dict(outcome: Outcome[Ran]) -> dict[str, object]:
    ran = outcome.value
    return {
        "host": str(outcome.host),
        "exit": ran.code if ran else None,
        "stdout": ran.out.decode(errors="replace") if ran else "",
        "stderr": ran.err.decode(errors="replace") if ran else "",
        "error": str(outcome.error) if outcome.error else "",
    }

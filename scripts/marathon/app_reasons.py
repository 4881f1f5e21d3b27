"""Reasons why instances do not come up: Marathon's last failure, refused offers and back-off in a person's words.

The reasons of refused offers are those of Marathon's NoOfferMatchReason.scala, the words of failures those of Mesos'
Docker containerizer (slave/containerizer/docker.cpp, docker/executor.cpp) and of the Docker Engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.marathon.answers import App, amount, fresh_failure, mapping, mappings, runs
from scripts.one_line import one_line

_KILLED = 137  # 128 and the number of the signal KILL

# What is short by which reason: the word, the definition's key, and the unit.
_SHORT = {
    "InsufficientCpus": ("CPU", "cpus", "cores"),
    "InsufficientMemory": ("memory", "mem", "MiB"),
    "InsufficientDisk": ("disk", "disk", "MiB"),
    "InsufficientGpus": ("GPUs", "gpus", "GPUs"),
}
_REFUSALS = {
    "InsufficientPorts": "not enough free ports, or a fixed hostPort is taken",
    "UnfulfilledRole": "the agents' resources are for other roles",
    "NoCorrespondingReservationFound": "nothing is reserved for it",
    "AgentMaintenance": "the agents are in maintenance",
    "DeclinedScarceResources": "the agents with GPUs are kept for apps that ask for some",
}

_NO_OFFER = "no agent has offered anything yet: are there agents, and is anything free on them?"

_PULL = re.compile(r"docker\b.*\bpull (?P<image>[^\s']+)'?:? .*?stderr='(?P<words>.*?)'?\s*$", re.DOTALL)
_STATUS = re.compile(r"(?:exited with status|exit code) (\d+)", re.IGNORECASE)
_MEMORY = re.compile(r"memory limit exceeded|out of memory|\boom", re.IGNORECASE)

# What the Docker Engine says when it cannot pull, and what to do about it.
_REMEDIES = (
    (r"x509|certificate", "the agent does not trust the registry: ./inv agents.trust"),
    (r"http response to https", "the registry speaks no TLS, which agents want: ./inv registry.up --host"),
    (r"no basic auth|unauthorized|denied|authentication required", "the agent has no login there: ./inv agents.trust"),
    (r"manifest unknown|not found", "the registry has no such image: build and push it again"),
    (r"no such host|connection refused|timeout|unreachable|no route", "the agent cannot reach the registry"),
    (r"no space left", "the agent's disk is full"),
)


def reasons(app: App, queue: Sequence[Mapping[str, Any]], failure: str) -> list[str]:
    """Collect all reasons why instances are not up; `failure` is of the last one that failed."""
    waiting = waiting_for(queue, str(app.get("id")))
    if failure and waiting == _NO_OFFER:
        waiting = ""  # it was offered something a moment ago
    found = [f"the last one {failure}" if failure else "", last_check(app), waiting]
    return [reason for reason in found if reason]


def last_failure(app: App) -> str:
    """Describe the last failure of an instance since the app's last change: `failed on agent1: ...`, else empty."""
    failure = fresh_failure(app)
    if not failure:
        return ""
    message = str(failure.get("message") or failure.get("state") or "")
    host = f" on {failure['host']}" if failure.get("host") else ""
    known = _unpulled(message, host) or _unfetched(app, message, host) or _out_of_memory(app, message, host)
    return known or f"failed{host}: {one_line(message)}"


def last_check(app: App) -> str:
    """Quote the last health check of a running instance: `the last check says: ...`; empty when it said nothing."""
    running = [task for task in mappings(app.get("tasks")) if runs(task)]
    results = [result for task in running for result in mappings(task.get("healthCheckResults"))]
    causes = [str(result["lastFailureCause"]) for result in results if result.get("lastFailureCause")]
    return f"the last check says: {one_line(causes[-1])}" if causes else ""


def waiting_for(queue: Sequence[Mapping[str, Any]], wanted_id: str) -> str:
    """Explain by its launch queue why Marathon does not start an app's instances; empty when none is to be started."""
    entry = next((item for item in queue if mapping(item.get("app")).get("id") == wanted_id), None)
    if entry is None:
        return ""
    delay, offers = mapping(entry.get("delay")), mapping(entry.get("processedOffersSummary"))
    if not delay.get("overdue") and amount(delay.get("timeLeftSeconds")):
        return f"after failures Marathon waits {delay['timeLeftSeconds']} s before it starts the next"
    if offers.get("processedOffersCount") == 0:
        return _NO_OFFER
    refused = [item for item in mappings(offers.get("rejectSummaryLastOffers")) if amount(item.get("declined"))]
    if not refused:
        return "Marathon waits for an offer of an agent"
    worst = max(refused, key=lambda item: amount(item["declined"]))
    of = f"{worst['declined']} of {worst['processed']}" if amount(worst.get("processed")) else str(worst["declined"])
    return f"no agent fits: {_refusal(mapping(entry['app']), str(worst.get('reason')))} ({of} offers refused)"


def _refusal(app: App, reason: str) -> str:
    """Explain Marathon's word for a refusal, with what the app asks for."""
    if reason in _SHORT:
        word, key, unit = _SHORT[reason]
        return f"not enough {word} free" + (f", an instance wants {app[key]:g} {unit}" if amount(app.get(key)) else "")
    if reason == "UnfulfilledConstraint":
        lists = app.get("constraints")
        wanted = ", ".join(
            ":".join(map(str, one)) for one in (lists if isinstance(lists, list) else []) if isinstance(one, list)
        )
        return f"none is as the constraint says{f' ({wanted})' if wanted else ''}"
    return _REFUSALS.get(reason, reason)


def _unpulled(message: str, host: str) -> str:
    match = _PULL.search(message)
    if not match:
        return ""
    words = one_line(match["words"].removeprefix("Error response from daemon: "))
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, words, re.IGNORECASE)), "")
    more = f" ({remedy})" if remedy else ""
    return f"did not start{host}: the image {match['image']} cannot be pulled: {words}{more}"


def _unfetched(app: App, message: str, host: str) -> str:
    if "failed to fetch" not in message.lower():
        return ""
    files = ", ".join(str(item.get("uri")) for item in mappings(app.get("fetch")))
    return f"did not start{host}: {files or 'a file'} is not there: {one_line(message)} (logins: ./inv agents.trust)"


def _out_of_memory(app: App, message: str, host: str) -> str:
    limit = f"{app['mem']:g} MiB" if amount(app.get("mem")) else "limit"
    status = _STATUS.search(message)
    if _MEMORY.search(message):
        why = f"since it used more memory than its {limit}"
    elif status and status[1] == str(_KILLED):  # Mesos does not tell by whom
        why = f"perhaps since it used more memory than its {limit}"
    else:
        return ""
    return f"was killed{host}, {why}: {one_line(message)}"

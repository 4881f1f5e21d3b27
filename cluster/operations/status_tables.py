"""The tables of `inv status`."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from cluster.apps.app import AppStatus, Instance
from cluster.queue.counts import WorkQueue
from cluster.schedulers import Scheduler
from scripts.amqp.management import Node
from scripts.amqp.workers import Report
from scripts.one_line import visible

# With less than so many times its limit left, a disk is low: the journal of one held message can take as much.
_LOW_DISK = 3

# So many are shown of what may be hundreds: --json has all.
_MOST_WORKERS = 15
_MOST_INSTANCES = 5

_LONGEST_ID = 20
_LONGEST_NUMBER = 8
_SHORTEST = 8  # of a cell that is cut
_BARS = "▁▂▃▄▅▆▇█"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), width: int | None = None
) -> str:
    """Lay rows out in columns as wide as their widest cell, two blanks apart; columns of `numbers` end together.

    To fit into a `width`, the cells of the widest other column are cut.
    """
    rows = [tuple(map(visible, row)) for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    if width is not None and (over := sum(widths) + 2 * (len(widths) - 1) - width) > 0:
        texts = [i for i in range(len(head)) if head[i] not in numbers]
        widest = max(texts, key=lambda i: widths[i])
        widths[widest] = max(_SHORTEST, widths[widest] - over)
    lines = ("  ".join(_cell(row[i], widths[i], head[i] in numbers) for i in range(len(head))) for row in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)


def _cell(text: str, width: int, is_number: bool) -> str:
    text = text if len(text) <= width else text[: width - 1] + "…"
    return text.rjust(width) if is_number else text.ljust(width)


def span(seconds: float) -> str:
    """Return a time for people, in one unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def apps(found: Sequence[tuple[Scheduler, AppStatus]], older: Sequence[bool | None], width: int | None) -> str:
    """Return a line for each app, and below it one for each instance that does not simply run."""
    now_s, rows = time.time(), list[tuple[str, ...]]()
    for (engine, app), is_older in zip(found, older, strict=True):
        starts = [one.started_at for one in app.instances if one.started_at]
        age = span(max(0.0, now_s - min(starts))) if starts else ""
        up = f"{app.running}/{len(app.instances)}"
        wanted = f"{app.spec.number} wanted" if app.spec.max_instances else ""
        notes = [_addresses(app) or ("older actions" if is_older else ""), wanted]
        rows.append((app.id, engine.name, up, app.tag, age, ", ".join(filter(None, notes))))
        rows += [(f"  {name}", "", "", "", "", state) for name, state in _not_well(app)]
    return table(("APP", "ENGINE", "UP", "IMAGE", "AGE", ""), rows, (), width)


def _not_well(app: AppStatus) -> Iterator[tuple[str, str]]:
    """Yield the instances that do not simply run, and their states; those that wait, and many, are counted by these."""
    ill = [one for one in app.instances if one.state != "running" or one.detail]
    waiting = [one for one in ill if one.state == "waiting"]
    others = [one for one in ill if one.state != "waiting"]
    rows = list(_counted(waiting))
    rows += [((one.name, _state(one)), 1) for one in others] if len(others) <= _MOST_INSTANCES else _counted(others)
    yield from (row for row, _ in rows[:_MOST_INSTANCES])
    if more := sum(count for _, count in rows[_MOST_INSTANCES:]):
        yield f"and {more} more", ""


def _counted(found: Sequence[Instance]) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield a row for each state that instances are in, most first, and how many are."""
    names = {_state(one): one.name for one in found}
    for state, count in Counter(map(_state, found)).most_common():
        yield (names[state] if count == 1 else f"{count} instances", state), count


def _addresses(app: AppStatus) -> str:
    """Return where an app's first instance answers, its ports of one host together."""
    ports = list(app.instances[0].ports.values()) if app.instances else []
    if not ports or any(port.host != ports[0].host for port in ports):
        return " ".join(map(str, ports))
    return ",".join([str(ports[0]), *(str(port.port) for port in ports[1:])])


def _state(one: Instance) -> str:
    return f"{one.state}: {one.detail}" if one.detail and one.state != "running" else one.detail or one.state


def queues(work: Sequence[WorkQueue], width: int | None) -> str:
    """Return a line for each work queue."""
    head = ("QUEUE", "READY", "IN WORK", "TO RETRY", "FAILED", "DONE", "IN/S", "OUT/S", "LEFT")
    rows = [
        (one.name, *map(_figure, (one.waiting, one.in_work, one.to_retry, one.failed, one.done)), _rate(one.rate_in),
         _rate(one.rate_out), "paused" if one.paused else left(one))
        for one in work
    ]  # fmt: skip
    return table(head, rows, head[1:], width) if rows else ""


def left(one: WorkQueue) -> str:
    """Return the time to the end at the present rate, `-` where nothing is left, `?` where nothing is known."""
    if one.left_s is None:
        return "-" if {one.waiting, one.in_work, one.to_retry} == {0} else "?"
    return span(one.left_s) if one.left_s >= 1 else "-"


def workers(reports: Sequence[Report], width: int | None) -> str:
    """Return a line for each worker, those first whose action has run longest."""
    if not reports:
        return ""
    ordered = sorted(reports, key=lambda one: -max((each.seconds for each in one.running), default=0))
    rows = [
        (f"{one.host} {_instance(one)}", one.queue, f"{len(one.running)}/{one.jobs}", f"{one.done:,}",
         f"{one.failed:,}", span(time.time() - one.since), _now(one))
        for one in ordered[:_MOST_WORKERS]
    ]  # fmt: skip
    head = ("WORKER", "QUEUE", "SLOTS", "DONE", "FAILED", "UP FOR", "RUNS NOW")
    more = len(reports) - _MOST_WORKERS
    return table(head, rows, head[2:6], width) + (f"\nand {more} more workers: --json shows all" if more > 0 else "")


def _instance(report: Report) -> str:
    """Return the end of an instance's name, which tells it from others on its host; without one the process id."""
    return report.name.rpartition("-")[2][:_LONGEST_NUMBER] or str(report.pid)


def _now(report: Report) -> str:
    """Return what a worker does: of several actions the one that has run longest."""
    if not report.running:
        return "" if report.state == "taking" else report.state
    longest = report.running[0]
    what = f"item {longest.item}" if longest.item is not None else longest.id[:_LONGEST_ID]
    again = f", attempt {longest.attempt}" if longest.attempt > 1 else ""
    state = "" if report.state == "taking" else f", {report.state}"
    return f"{what} for {span(longest.seconds)}{again}{state}"


def remarks(
    work: Sequence[WorkQueue], reports: Sequence[Report], nodes: Sequence[Node], flag: str, start: str
) -> Iterator[str]:
    """Yield a line on each thing that a person should do something about; `start` is the command that runs workers."""
    for one in work:
        name, words = visible(one.name), f"-q {visible(shlex.quote(one.name))}{flag}"
        if one.failed:
            yield f"{one.failed:,} of {name} failed: ./inv failed.list {words} says why"
        if one.paused:
            yield f"{name} is paused: ./inv queue.resume {words} lets it go on"
        elif one.waiting and not one.workers and one.run:
            # Workers with another action would give its items results of that one.
            again = "the same ./inv map command goes on, with --workers N where none are there"
            yield f"run {one.run} of inv map waits for workers of {name}: {again}"
        elif one.waiting and not one.workers:
            yield f"nobody takes the messages of {name}: ./inv {start} {words} starts workers"
    yield from map(_rests, (one for one in reports if one.state == "resting"))
    for node in nodes:
        yield from _short_of(node)


def _rests(one: Report) -> str:
    """Return a line on a worker that takes nothing, of whose words anybody may be the author."""
    return visible(
        f"{one.host}: the worker with pid {one.pid} takes nothing of {one.queue}: {one.reason}; it tries one now and "
        "then. Mend the action or the host, then ./inv worker.restart"
    )


def _short_of(node: Node) -> Iterator[str]:
    """Yield a line on each thing that a node runs out of."""
    free, limit = node.disk_free, node.disk_free_limit
    if free is not None and limit is not None and (node.disk_free_alarm or free < _LOW_DISK * limit):
        yield visible(
            f"the queue ({node.name}) has {free / 1e9:,.1f} GB of disk left, and takes no messages below "
            f"{limit / 1e9:,.1f}: make room, or settle what is held for long (docs/publishing.md)"
        )
    if node.mem_alarm:
        yield visible(f"the queue ({node.name}) is short of memory, and takes no messages until workers catch up")


def outdated(found: Sequence[tuple[Scheduler, AppStatus]], older: Sequence[bool | None]) -> Iterator[str]:
    """Yield a line for each app whose workers run older actions than the folder has."""
    for (engine, app), is_older in zip(found, older, strict=True):
        if is_older and engine.has_images:
            again = "run-local" if engine.is_here else "deploy"
            yield f"{app.id} runs older actions than components/worker/ has: ./inv worker.build, then worker.{again}"
        elif is_older and any(one.sources for one in app.instances):
            yield f"{app.id} runs older actions than components/worker/ has: worker.deploy{engine.flag} brings these"
        elif is_older:
            yield f"{app.id} runs an older program than there is now: ./inv worker.restart"


def history(rates: Mapping[str, Sequence[float]]) -> str:
    """Return a line for each queue with the rates of the last looks as bars, and the last of them."""
    rows = [
        (name, "".join(_bar(rate, max(past)) for rate in past), f"{past[-1]:,.1f}/s")
        for name, past in rates.items()
        if past
    ]
    return table(("OUT/S", "", ""), rows, ("",)) if rows else ""


def _bar(rate: float, most: float) -> str:
    return _BARS[round(rate / most * (len(_BARS) - 1))] if most else _BARS[0]


def _figure(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _rate(rate: float | None) -> str:
    return "?" if rate is None else "-" if not rate else f"{rate:.2g}" if rate < 10 else f"{rate:,.0f}"

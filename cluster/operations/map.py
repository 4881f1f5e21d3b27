"""Map: items go out to the workers, and their results come back into a file or a folder, each item once."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from cluster.apps.component_apps import split_command
from cluster.components import QUEUE
from cluster.operations.publish import Broker, broker_meant
from cluster.operations.replacing import messages_waiting
from cluster.operations.wanted_workers import Wanted as WantedWorkers
from cluster.operations.workforce import workers_ready
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.link import Target
from cluster.queue.runs.collector import delete_queue
from cluster.queue.runs.halt import Halt
from cluster.queue.runs.items import Items, chosen_items
from cluster.queue.runs.output import Output, open_output
from cluster.queue.runs.record import Record
from cluster.queue.runs.run import Around, Run, Summary
from cluster.queue.runs.sidecar import Sidecar, Wanted
from cluster.schedulers import Say, selection
from cluster.settings import Settings
from cluster.terminal import run_bar
from scripts.action.placeholders import Template
from scripts.amqp.broker import identity
from scripts.amqp.queues import alone_queue, checked_name, results_queue
from scripts.errors import ClusterError, MessagesFailed

# A broker that restarts, or a network that is gone for a while, ends no run.
_RETRY_FOR_S = 3600.0
_HOSTS_SHOWN = 4


@dataclass(frozen=True)
class Flags:
    """The flags of `inv map` that shape the items, the output, and the workers' part."""

    file: str = ""
    files: str = ""
    contents: bool = False
    null: bool = False
    skip_empty: bool = False
    colsep: str | None = None
    header_row: bool = False
    output: str = ""
    name: str = ""
    keep_order: bool = False
    workers: WantedWorkers = field(default_factory=WantedWorkers)
    retry_failed: bool = False
    restart: bool = False
    halt: str = ""
    detach: bool = False
    at: str = ""
    marathon: str = ""
    url: str = ""

    @property
    def spool(self) -> Path:
        """The file that STDIN is kept in, since items are read more than once."""
        return Path(f"{self.output.rstrip('/')}.stdin")


def dry_run(settings: Settings, flags: Flags, say: Say) -> list[str]:
    """Return the first three commands, filled, and say what would be run."""
    items = _items(flags, _action(settings, flags), say)
    Halt.read(flags.halt, items.total)
    say(f"would run {items.total:,} items of {items.name}, results to {flags.output or '--output'}; it begins with:")
    return items.commands()


def run(settings: Settings, flags: Flags, say: Say) -> Summary:
    """Run the action for each item that has no result yet; return when all have one, or the run is given up.

    Raises:
        ClusterError: something is not as it must be, and nothing was published; or the run cannot go on.
        Interrupted: what came so far is safe; the same command goes on.
    """
    action = _action(settings, flags)
    queue = checked_name(flags.workers.queue or settings.queue.name)
    if not flags.output:
        raise ClusterError("--output is missing: name a file such as results.jsonl (.csv, .tsv), or a folder/")
    with closing(Sidecar(flags.output, may_be_damaged=flags.restart)) as sidecar:
        before = sidecar.state.run if sidecar.state and flags.restart else ""
        if flags.restart:
            flags.spool.unlink(missing_ok=True)
        items = _items(flags, action, say)
        halt = Halt.read(flags.halt, items.total)
        choice = selection.chosen(settings, flags.at, flags.marathon) if not flags.url else None
        service = (
            identity(flags.url or settings.queue.url) if not choice or choice.is_here else f"{QUEUE.app_id} of {choice}"
        )
        wanted = Wanted(
            items.path, items.digest, items.total, shlex.join(action), queue, service, flags.name, flags.keep_order
        )  # fmt: skip
        if flags.restart:
            _discard(flags, sidecar)
        has_changed = sidecar.check(wanted, may_change_items=flags.retry_failed)
        with closing(_output(flags, items, sidecar)) as output:
            if flags.retry_failed:
                _drop_failed(output, sidecar, items if has_changed else None, say)
            if len(output.done) >= items.total and not (sidecar.state and sidecar.state.run):
                say(f"all {items.total:,} items have a result in {flags.output} already")
                return Summary(items.total, len(output.done), output.failed)
            _say_where(output, items, sidecar, say)
            wished = replace(flags.workers, queue=queue, action=shlex.join(action))
            force = workers_ready(settings, wished, at=flags.at, marathon=flags.marathon, url=flags.url, say=say)
            broker = broker_meant(settings, flags.url, flags.at, flags.marathon, say)
            if before:
                delete_queue(broker.url, results_queue(queue, before))
            if not sidecar.state or not sidecar.state.run:
                sidecar.begin(wanted)
            target = Target(broker.url, queue, True, retry_for_s=_RETRY_FOR_S, find=broker.find, service=service)
            around = Around(
                force.trouble,
                partial(_slowed, broker, queue),
                partial(_left, broker, queue),
                is_final=choice is not None and choice.is_here,
            )
            one = Run(
                items, output, sidecar, target, around, halt, slots=force.slots, detach=flags.detach, say=say
            )  # fmt: skip
            with run_bar(say) as show:
                summary = one.go(show)
            _report(flags, summary, output, say)
            return summary


def check(flags: Flags, summary: Summary) -> None:
    """Raise MessagesFailed where items failed, or the run was given up."""
    if summary.halted:
        raise MessagesFailed(f"given up: {summary.halted}; {summary.total - summary.done:,} items have no result: the "
                             "same command goes on with them, --retry-failed runs the failed ones again")  # fmt: skip
    if summary.failed and summary.done >= summary.total:
        raise MessagesFailed(
            f"{summary.failed:,} of {summary.total:,} items failed: {flags.output} says why; --retry-failed runs them "
            "again"
        )


def _action(settings: Settings, flags: Flags) -> list[str]:
    action = split_command("--action", flags.workers.action or settings.worker.action)
    if flags.workers.keep_alive and (names := Template(action).names):
        shown = ", ".join(f"{{{name}}}" for name in names)
        raise ClusterError(
            f"--action: {shown} cannot be filled with --keep-alive, where it is started once for many items"
        )
    return action


def _items(flags: Flags, action: Sequence[str], say: Say) -> Items:
    return chosen_items(
        flags.file, flags.files, contents=flags.contents, null=flags.null, skip_empty=flags.skip_empty,
        colsep=flags.colsep, header_row=flags.header_row, action=action, spool=flags.spool, say=say, name=flags.name,
    )  # fmt: skip


def _discard(flags: Flags, sidecar: Sidecar) -> None:
    """Delete the output and what was kept for it, for --restart."""
    sidecar.forget()
    for path in (Path(flags.output), Path(f"{flags.output.rstrip('/')}.early")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _output(flags: Flags, items: Items, sidecar: Sidecar) -> Output:
    """Open the output; one that is there already must be of a run that the sidecar knows."""
    path = Path(flags.output)
    if sidecar.state is None and (any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size):
        raise ClusterError(
            f"{flags.output} is there already and no run is known for it: take another --output, or --restart deletes "
            "it"
        )
    return open_output(
        flags.output, name=flags.name, keep_order=flags.keep_order, columns=items.column_names, total=items.total
    )  # fmt: skip


def _drop_failed(output: Output, sidecar: Sidecar, changed: Items | None, say: Say) -> None:
    """Have the failed items run again; where items have `changed`, see that none has that succeeded."""
    if sidecar.state is None:
        raise ClusterError("--retry-failed: no run is known for this output; without --retry-failed it begins")
    if sidecar.state.run:
        raise ClusterError("--retry-failed: the run is not over yet; the same command without it goes on")
    if changed and (number := output.first_changed(_records(changed))):
        raise ClusterError(
            f"{changed.name}: item {number:,} has changed, or is gone, and has a result already: --retry-failed takes "
            f"mended lines of failed items, in their old places; put item {number:,} back, or take another --output"
        )
    failed = output.drop_failed() if output.failed else 0
    say(f"{failed:,} failed {'item is' if failed == 1 else 'items are'} run again" if failed else "no item has failed")


def _records(items: Items) -> Iterator[Record]:
    for _, offset, length, number, place, *_ in items.start(Position()):
        found = items.input_of(offset, length)
        yield Record(number, place, found, columns=items.named(found))


def _say_where(output: Output, items: Items, sidecar: Sidecar, say: Say) -> None:
    if done := len(output.done):
        under_way = f" of run {sidecar.state.run}" if sidecar.state and sidecar.state.run else ""
        say(f"going on{under_way}: {done:,} of {items.total:,} items have a result")


def _left(broker: Broker, queue: str) -> int | None:
    """Count what waits or is in work at the broker; None where its management API does not say."""
    try:
        management = broker.management()
        in_work = [management.unacknowledged(name) or 0 for name in (queue, alone_queue(queue))]
        return messages_waiting(broker.url, queue) + sum(in_work)
    except ClusterError:
        return None


def _slowed(broker: Broker, queue: str) -> str:
    """Name a worker that takes one item now and then, since too much fails there; empty where that is not known."""
    try:
        found = [one for one in broker.management().open_breakers() if one.queue == queue]
    except ClusterError:
        return ""
    return f"{found[0].host}: {found[0].reason}: taking one now and then, until one succeeds" if found else ""


def _report(flags: Flags, summary: Summary, output: Output, say: Say) -> None:
    if flags.detach and summary.done < summary.total and not summary.halted:
        say(f"all {summary.total:,} items are published; the same command, without --detach, collects their results")
        return
    now = sum(summary.hosts.values())
    rate = f", {now / summary.seconds:,.0f}/s" if summary.seconds >= 1 else ""
    hosts = [f"{host or '?'} ({count:,})" for host, count in summary.hosts.most_common(_HOSTS_SHOWN)]
    more = len(summary.hosts) - len(hosts)
    where = ", ".join(hosts) + (f" and {more} more" if more else "")
    ok = summary.done - summary.failed
    took = f"in {summary.seconds:.1f} s{rate}, on {where}"
    say(f"{ok:,} of {summary.total:,} items done, {summary.failed:,} failed, {took}")
    for line in output.failures.lines():
        say(f"  {line}")
    say(f"the results are in {flags.output}")

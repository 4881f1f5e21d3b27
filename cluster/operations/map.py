"""Map: items go out to the workers, and their results come back into a file or a folder, each item once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cluster.apps.component_apps import split_command
from cluster.components import QUEUE
from cluster.operations.brokers import Broker, broker_meant
from cluster.operations.replacing import consumers, messages_waiting
from cluster.operations.wanted_workers import Wanted as WantedWorkers
from cluster.operations.workforce import GoingOn, Workforce, resting_words, said_by_workers, workers_ready
from cluster.queue.publishing.items import Position
from cluster.queue.publishing.link import Target
from cluster.queue.runs.ending import end_run
from cluster.queue.runs.halt import Halt
from cluster.queue.runs.items import Items, chosen_items
from cluster.queue.runs.output import ANY_NUMBER, Output, check_output, discard, is_bare, is_output, open_output
from cluster.queue.runs.record import Record
from cluster.queue.runs.run import Around, Resting, Run, Summary
from cluster.queue.runs.sidecar import Sidecar, Wanted
from cluster.queue.runs.spool import is_pipe
from cluster.schedulers import Say, selection
from cluster.settings import Settings
from cluster.terminal import counted, run_bar
from scripts.action.placeholders import Template
from scripts.amqp.broker import broker_errors, identity, open_blocking
from scripts.amqp.queues import alone_queue, checked_name
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
        """The file that STDIN is kept in, since items are read more than once; with --restart until that begins."""
        return Path(f"{self.output.rstrip('/')}.stdin{'.new' if self.restart else ''}")


def dry_run(settings: Settings, flags: Flags, say: Say) -> list[str]:
    """Return the first three commands, filled, and say what would be run."""
    is_new = not flags.spool.exists()
    try:
        items = _items(flags, _action(settings, flags), say)
        Halt.read(flags.halt, items.total)
        where = flags.output or "--output"
        say(f"would run {counted(items.total, 'item')} of {items.name}, results to {where}; it begins with:")
        return items.commands()
    finally:
        if is_new:
            flags.spool.unlink(missing_ok=True)


def run(settings: Settings, flags: Flags, say: Say) -> Summary:
    """Run the action for each item that has no result yet; return when all have one, or the run is given up.

    Raises:
        ClusterError: something is not as it must be, and nothing was published; or the run cannot go on.
        Interrupted: what came so far is safe; the same command goes on.
    """
    action = _action(settings, flags)
    if not flags.output:
        raise ClusterError("--output is missing: name a file such as results.jsonl (.csv, .tsv), or a folder/")
    with closing(Sidecar(flags.output)) as sidecar, _fresh_spool(flags):
        _refuse_unknown(flags, sidecar)
        items = _items(flags, action, say)
        _refuse_input(flags, items)
        is_here = not flags.url and _choice(settings, flags).is_here
        halt = Halt.read(flags.halt, items.total, is_one_host=is_here)
        terms = _terms(settings, flags, items)
        started = None
        if flags.restart:
            started = _workers(settings, flags, terms, sidecar, say)
            _discard(flags, sidecar, terms, started.broker, say)
            flags = replace(flags, restart=False)
            items = _items(flags, action, _say_nothing)  # from where they stay
            terms = _terms(settings, flags, items)
            sidecar.begin(terms)
        has_changed = sidecar.check(terms, may_change_items=flags.retry_failed)
        with _opened(flags, items, sidecar, has_changed) as output:
            _say_lost(output, say)
            if flags.retry_failed:
                _check_retry(output, sidecar, items if has_changed else None)
            is_over = not (sidecar.state and sidecar.state.run)
            if is_over and len(output.done) - (output.failed if flags.retry_failed else 0) >= items.total:
                say(_nothing_to_do(flags, items, output))
                return Summary(items.total, len(output.done), output.failed)
            force, broker = started or _workers(settings, flags, terms, sidecar, say)
            if flags.retry_failed and is_over:
                _drop_failed(output, say)
            _say_where(output, items, sidecar, say)
            if is_over:
                sidecar.begin(terms)
            queue = terms.queue
            target = Target(broker.url, queue, True, retry_for_s=_RETRY_FOR_S, find=broker.find, service=terms.broker)
            around = Around(
                partial(_resting, broker, queue, force.waiting),
                force.trouble,
                partial(_left, broker, queue),
                ends_after_s=force.ends_after_s,
                flag=force.flag,
            )
            one = Run(
                items, output, sidecar, target, around, halt, slots=force.slots, detach=flags.detach, say=say
            )  # fmt: skip
            with run_bar(say) as show:
                summary = one.go(show)
            _take_off(summary, broker, queue, say)
            _report(flags, summary, output, say)
            return summary


class _Started(NamedTuple):
    """The workers of a run and the broker between."""

    force: Workforce
    broker: Broker


def _workers(settings: Settings, flags: Flags, terms: Wanted, sidecar: Sidecar, say: Say) -> _Started:
    wished = replace(flags.workers, queue=terms.queue, action=terms.action)
    run = sidecar.run_at(terms)
    going_on = GoingOn(run, sidecar.publish_again) if run else GoingOn()
    force = workers_ready(
        settings, wished, at=flags.at, marathon=flags.marathon, url=flags.url, say=say, going_on=going_on
    )
    return _Started(force, broker_meant(settings, flags.url, flags.at, flags.marathon, say))


def _choice(settings: Settings, flags: Flags) -> selection.Choice:
    return selection.chosen(settings, flags.at, flags.marathon)


def _terms(settings: Settings, flags: Flags, items: Items) -> Wanted:
    if flags.url or _choice(settings, flags).is_here:
        service = identity(flags.url or settings.queue.url)
    else:
        service = f"{QUEUE.app_id} of {_choice(settings, flags)}"
    queue = checked_name(flags.workers.queue or settings.queue.name)
    action = shlex.join(_action(settings, flags))
    return Wanted(items.path, items.digest, items.total, action, queue, service, flags.name, flags.keep_order)


def check(flags: Flags, summary: Summary) -> None:
    """Raise MessagesFailed where items failed, or the run was given up."""
    if summary.halted:
        raise MessagesFailed(
            f"given up: {summary.halted}; without a result: {counted(summary.total - summary.done, 'item')}; the same "
            "command goes on with these, --retry-failed runs those again that failed; ./inv worker.logs shows what "
            "was printed"
        )
    if summary.failed and summary.done >= summary.total:
        raise MessagesFailed(
            f"{summary.failed:,} of {counted(summary.total, 'item')} failed: {flags.output} says why; --retry-failed "
            f"runs {'it' if summary.failed == 1 else 'them'} again"
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


def _refuse_unknown(flags: Flags, sidecar: Sidecar) -> None:
    """Refuse to delete, or to take for ours, what no run is known to have written."""
    path, spool = Path(flags.output), replace(flags, restart=False).spool
    is_ours = sidecar.state is not None and sidecar.state.wanted.items == str(spool.resolve())
    if is_pipe(flags.file) and spool.exists() and not is_ours:
        raise ClusterError(
            f"{spool}, where the items of --file {flags.file} would be kept, is there already, and no run is known for "
            "it: remove it yourself, or take another --output"
        )
    if not flags.restart:
        return
    if flags.retry_failed:
        raise ClusterError("--restart begins anew, --retry-failed goes on: give one of them")
    is_there = any(path.iterdir()) if path.is_dir() else path.exists()
    if is_there and not (sidecar.state and is_output(flags.output)):
        raise ClusterError(
            f"--restart: no run is known to have written {flags.output}, so it is not deleted: remove it yourself, "
            "or take another --output"
        )


def _refuse_input(flags: Flags, items: Items) -> None:
    """Refuse an output that is the file of items, or one of these, by whatever name."""
    output = Path(flags.output)
    if not output.is_file():
        return
    paths = [flags.file] if flags.file else map(items.source.place, range(1, items.total + 1))
    if same := next((path for path in paths if Path(path).exists() and output.samefile(path)), ""):
        raise ClusterError(f"--output {flags.output} is the input {same}, which it would overwrite: name another")


@contextmanager
def _fresh_spool(flags: Flags) -> Iterator[None]:
    """Keep what comes from STDIN for --restart apart, until nothing can refuse that any more."""
    if flags.restart:
        flags.spool.unlink(missing_ok=True)
    try:
        yield
    finally:
        if flags.restart:
            flags.spool.unlink(missing_ok=True)


def _discard(flags: Flags, sidecar: Sidecar, terms: Wanted, broker: Broker, say: Say) -> None:
    """End the run before, and delete its output."""
    check_output(flags.output, flags.name, ())
    before = sidecar.state
    if before and before.run and before.wanted.broker != terms.broker:
        say(f"run {before.run} is left at {before.wanted.broker}: ./inv map.cancel --run {before.run} there ends it")
    elif before and before.run:
        with broker_errors(broker.url), open_blocking(broker.url) as connection:
            end_run(connection, before.wanted.queue, before.run)
    discard(flags.output)
    if flags.spool.exists():
        flags.spool.replace(replace(flags, restart=False).spool)


def _say_nothing(_text: str) -> None:
    """Say nothing: it was said before."""


@contextmanager
def _opened(flags: Flags, items: Items, sidecar: Sidecar, has_changed: bool) -> Iterator[Output]:
    """Open the output; one that has records must be of a run that the sidecar knows. No run leaves none behind."""
    if sidecar.state is None and not is_bare(flags.output):
        raise ClusterError(
            f"{flags.output} is there already and no run is known for it: take another --output, or remove it"
        )
    is_new = not Path(flags.output).exists()
    output = open_output(
        flags.output, name=flags.name, keep_order=flags.keep_order, columns=items.column_names, total=items.total,
        numbers=ANY_NUMBER if has_changed else items.numbers,
    )  # fmt: skip
    try:
        with closing(output):
            yield output
    except BaseException:
        if is_new and sidecar.state is None:
            discard(flags.output)
        raise


def _check_retry(output: Output, sidecar: Sidecar, changed: Items | None) -> None:
    """See that failed items can run again; where items have `changed`, that none has that succeeded."""
    if sidecar.state is None:
        raise ClusterError("--retry-failed: no run is known for this output; without --retry-failed it begins")
    if changed and sidecar.state.run:
        raise ClusterError(
            f"--retry-failed: the run is not over yet, and {changed.name} has changed since it began: put back what it "
            "was until then"
        )
    if changed and (number := output.first_changed(_records(changed))):
        raise ClusterError(
            f"{changed.name}: item {number:,} has changed, or is gone, and has a result already: --retry-failed takes "
            f"mended lines of failed items, in their old places; put item {number:,} back, or take another --output"
        )


def _drop_failed(output: Output, say: Say) -> None:
    failed = output.drop_failed() if output.failed else 0
    say(f"running {counted(failed, 'failed item')} again" if failed else "no item has failed")


def _records(items: Items) -> Iterator[Record]:
    for _, offset, length, number, place, *_ in items.start(Position()):
        found = items.input_of(offset, length)
        yield Record(number, place, found, columns=items.named(found))


def _say_lost(output: Output, say: Say) -> None:
    if output.lost:
        say(f"{output.path} has lost {counted(output.lost, 'result file')}: what is missing is run again")


def _say_where(output: Output, items: Items, sidecar: Sidecar, say: Say) -> None:
    if done := len(output.done):
        under_way = f" with run {sidecar.state.run}" if sidecar.state and sidecar.state.run else ""
        have = "has" if done == 1 else "have"
        say(f"going on{under_way}: {done:,} of {counted(items.total, 'item')} {have} a result")


def _nothing_to_do(flags: Flags, items: Items, output: Output) -> str:
    if not items.total:
        return f"nothing to do: {items.name} has no items"
    has = f"{flags.output} has the results of {counted(items.total, 'item')} already"
    return (
        f"nothing to do: {has}{f', {output.failed:,} of them failed' if output.failed else ''}; --restart begins anew"
    )


def _left(broker: Broker, queue: str) -> int | None:
    """Count what waits or is in work at the broker; None where its management API does not say."""
    try:
        management = broker.management()
        in_work = [management.unacknowledged(name) or 0 for name in (queue, alone_queue(queue))]
        return messages_waiting(broker.url_now(), queue) + sum(in_work)
    except ClusterError:
        return None


def _resting(broker: Broker, queue: str, waiting: Callable[[], str] = lambda: "") -> Resting:
    """Name a worker that takes one item now and then, since too much fails there; nothing where that is not known.

    `waiting` says that all workers wait for room.
    """
    url = broker.url_now()
    found = said_by_workers(url, queue)
    if any(one.state == "paused" for one in found):
        return Resting(f"{queue!r} is paused: ./inv queue.resume lets it go on", is_paused=True)
    if not (resting := resting_words(found)):
        words = "" if found else waiting()
        return Resting(words, are_waiting=bool(words))
    try:
        with broker_errors(url), open_blocking(url) as connection:
            return Resting(resting[0], are_all=not consumers(connection, queue))
    except ClusterError:
        return Resting()


def _take_off(summary: Summary, broker: Broker, queue: str, say: Say) -> None:
    """Take what is left of a run that was given up off the queue: workers that rest would not meet it for long."""
    if not summary.halted:
        return
    url = broker.url_now()
    try:
        with broker_errors(url), open_blocking(url) as connection:
            end_run(connection, queue, summary.run)
    except ClusterError as error:
        say(f"what is left of the run stays on {queue!r} until workers drop it: {error}")


def _report(flags: Flags, summary: Summary, output: Output, say: Say) -> None:
    if flags.detach and summary.done < summary.total and not summary.halted:
        what = counted(summary.total, "item")
        say(f"published {what}, run {summary.run}; the same command, without --detach, collects the results")
        return
    now = sum(summary.hosts.values())
    rate = f", {now / summary.seconds:,.0f}/s" if summary.seconds >= 1 else ""
    hosts = [f"{host or '?'} ({count:,})" for host, count in summary.hosts.most_common(_HOSTS_SHOWN)]
    more = len(summary.hosts) - len(hosts)
    where = ", ".join(hosts) + (f" and {more} more" if more else "")
    ok = summary.done - summary.failed
    took = f"in {summary.seconds:.1f} s{rate}{f', on {where}' if where else ''}"
    say(f"{ok:,} of {counted(summary.total, 'item')} done, {summary.failed:,} failed, {took}")
    for line in output.failures.lines():
        say(f"  {line}")
    if summary.done:
        say(f"the results are in {flags.output}")

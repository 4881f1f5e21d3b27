"""A trial: one message through the image, the worker and the action that thousands would go through."""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from cluster.apps import definitions
from cluster.apps.app import AppSpec
from cluster.apps.component_apps import Work
from cluster.apps.flags import AppOverrides
from cluster.components import QUEUE, REGISTRY
from cluster.operations.deploy import LOCAL_START_S, Rollout, workers_at
from cluster.operations.here import current_image, engine_here, queue_answers, start_queue
from cluster.operations.replacing import why_unstartable
from cluster.operations.wanted_workers import as_from_here, options_for
from cluster.queue.login import given
from cluster.queue.publishing.items import Position, Split
from cluster.queue.publishing.sources import chosen
from cluster.queue.runs.columns import SEPARATORS, is_column, is_number
from cluster.queue.runs.items import chosen_items
from cluster.queue.trial import Answer, Message, Waiting, sent
from cluster.schedulers import BrokerLocation, DeployOptions, LongWait, Say, Scheduler, selection
from cluster.settings import Settings
from scripts.action.placeholders import LINE, NUMBER, Template
from scripts.amqp.queues import failed_queue
from scripts.errors import ClusterError, MessagesFailed
from scripts.one_line import visible
from scripts.worker.options import Options

_WORKERS_OWN = "cluster_worker: "


@dataclass(frozen=True)
class Flags:
    """The flags of `inv worker.try` that say which message is tried, with which image, and where."""

    body: str | None = None
    file: str = ""
    line: int = 0
    colsep: str = ""
    tag: str = ""
    at: str = ""
    marathon: str = ""


@dataclass(frozen=True)
class Tried:
    """The outcome of a trial: the worker's answer, and the options and the queue of the work.

    `is_item`: the message was one of a run, since the action has placeholders.
    """

    answer: Answer
    options: Options
    queue: str
    is_item: bool = False

    @property
    def result(self) -> bytes:
        """The action's STDOUT."""
        return self.answer.record.result

    def summary(self) -> str:
        """Return how the action ended, in one line."""
        record, peak = self.answer.record, self.answer.peak_mib
        ended = f"exit code {record.exit}" if record.exit is not None else record.reason
        memory = f", at most {math.ceil(float(peak))} MiB of memory" if peak else ""
        return f"{ended} after {record.seconds:.2f} s{memory}"

    def check(self) -> None:
        """Raise MessagesFailed where the action failed, with what would become of the message."""
        record, verdict = self.answer.record, self.answer.verdict
        if not record.failed:
            return
        end = "have failed" if self.is_item else f"go to {failed_queue(self.queue)!r}"
        then = f"{end} at once"
        if verdict.startswith("again"):
            then = f"be tried {verdict}, {self.options.policy.attempts} times in all, and then {end}"
        which = "an item of a run" if self.is_item else f"a message of {self.queue!r}"
        raise MessagesFailed(
            f"the action failed: {record.reason}" + (f"; as {which} it would {then}" if verdict else "")
        )


def run(settings: Settings, flags: Flags, work: Work, overrides: AppOverrides, say: Say) -> Tried:
    """Run one message through workers as run-local would start them; leave nothing behind.

    Raises:
        ClusterError: flags that do not fit, an action that cannot be started, or no worker that does it.
    """
    choice = selection.chosen(settings, flags.at, flags.marathon)
    if not choice.is_here:
        raise ClusterError(
            f"worker.try runs on this machine, and not on {choice}: leave that out; -t names the image that runs there"
        )
    _check(flags)
    is_item = not options_for(work).keep_alive and _has_placeholders(flags, work.action)
    message = _item(flags, work.action) if is_item else message_of(flags)
    if flags.tag:
        settings = replace(settings, worker=replace(settings.worker, tag=flags.tag))
    settings, engine = engine_here(settings, choice, say)
    with _queue(settings, engine, work.url, say):
        answer = _answer(settings, engine, work, overrides, message, say)
    return Tried(answer, options_for(work), work.queue, is_item)


def message_of(flags: Flags) -> Message:
    """Return the message that flags mean, as `inv publish` would send it."""
    source, last = chosen(flags.body, flags.file, "", Split()), 0
    for item in source.start(Position()):
        if item and item.line == (flags.line or 1):
            return Message(item.body, source.id_of(item), item.line if flags.file else 0)
        last = item.line if item else last
    raise ClusterError(f"--line {flags.line}: {source.name} ends with line {last:,}")


def _check(flags: Flags) -> None:
    if (flags.body is None) == (not flags.file):
        raise ClusterError(f"{'--body and --file' if flags.file else 'nothing to try'}: give one of --body and --file")
    if flags.file == "-" and sys.stdin is None:
        raise ClusterError("--file -: STDIN is closed; pipe the messages in, or name a file")
    if flags.line and not flags.file:
        raise ClusterError(f"--line {flags.line} is a line of --file: give --file")


def _has_placeholders(flags: Flags, action: Sequence[str]) -> bool:
    """Tell whether the action is one for `inv map`; a name in braces alone, as of awk, only where there are columns."""
    has_columns = bool(flags.colsep) or PurePath(flags.file).suffix.lower() in SEPARATORS
    names = Template(action).names
    return any(name in (LINE, NUMBER) or is_number(name) or (has_columns and is_column(name)) for name in names)


def _item(flags: Flags, action: Sequence[str]) -> Message:
    """Return the message that a run would send for an item, with what fills the placeholders."""
    run = secrets.token_hex(4)
    if flags.body is not None:
        if name := next(filter(is_column, Template(action).names), ""):
            raise ClusterError(f"{{{name}}} is a column of a line: give --file")
        return Message(os.fsencode(flags.body), f"{run}-1", 1, run)
    with TemporaryDirectory() as folder:
        items = chosen_items(
            flags.file, "", contents=False, null=False, skip_empty=False, colsep=flags.colsep or None, header_row=False,
            action=action, spool=Path(folder) / "items", say=_quiet,
        )  # fmt: skip
        for item in items.start(Position()):
            if item.number == (flags.line or item.number):
                return Message(item.body, f"{run}-{item.number}", item.number, run, items.columns_of(item.body))
    first, last = items.numbers[0], items.numbers[-1]
    raise ClusterError(f"--line {flags.line}: the items of {items.name} are its lines {first:,} to {last:,}")


def _quiet(_text: str) -> None:
    """Say nothing of the single steps."""


@contextmanager
def _queue(settings: Settings, engine: Scheduler, url: str, say: Say) -> Iterator[None]:
    """See that a queue is there meanwhile; one that was started for this is stopped, unless it has got workers."""
    is_ours = not url and not queue_answers(settings)
    try:
        if is_ours:
            start_queue(settings, Rollout(engine, _quiet, DeployOptions(timeout_s=LOCAL_START_S), is_watched=True), say)
        yield
    finally:
        if is_ours and {app.id for app in engine.status()} <= {QUEUE.app_id, REGISTRY.app_id}:
            say("stopping the queue, which was started for this (./inv queue.run-local starts one that stays)")
            engine.stop(QUEUE.app_id)


def _answer(
    settings: Settings, engine: Scheduler, work: Work, overrides: AppOverrides, message: Message, say: Say
) -> Answer:  # fmt: skip
    name = f"try-{secrets.token_hex(4)}"
    # One that nobody waits for any more, since this was killed, ends by itself.
    ends = () if options_for(work).until_empty else ("--until-empty",)
    work = as_from_here(replace(work, queue=name, options=(*work.options, *ends)), engine)
    options, image = options_for(work), current_image(settings, engine, say)
    broker = BrokerLocation.at(work.url) if work.url else engine.broker_for(QUEUE.app_id)
    overrides = replace(overrides, app_id=definitions.worker_id(name))
    app = workers_at(settings, engine, image, work, broker, given(broker.url), overrides)
    expires_s = LOCAL_START_S + (options.ready_timeout_s if options.keep_alive else 0)
    with sent(broker.url, name, message, options.policy.backoff_s, expires_s) as waiting:
        look = _Look(waiting, message, say)
        code, printed = engine.run_once(replace(app, instances=1), math.inf, look)
        if waiting.answer is None and not waiting.look():
            raise ClusterError(_why_no_answer(engine, app, work, code, printed))
    assert waiting.answer
    return waiting.answer


class _Look:
    """A look at a worker while it does its one message: passes on what the action prints."""

    def __init__(self, waiting: Waiting, message: Message, say: Say) -> None:
        self._waiting, self._say = waiting, say
        self._tag = f"{visible(message.id)}\t"
        self._long, self._last = LongWait(say), "nothing"

    def printed(self, line: str) -> None:
        """Take a line of the worker: its own, or one of the action."""
        if line.startswith(_WORKERS_OWN):
            self._last = line.removeprefix(_WORKERS_OWN)
        else:
            self._say(line.removeprefix(self._tag))

    def is_over(self) -> bool:
        """Return True once there is a result."""
        is_over = self._waiting.look()
        if not is_over:
            self._long.tell(f"there is no result yet; the worker's last words: {self._last}")
        return is_over


def _why_no_answer(engine: Scheduler, app: AppSpec, work: Work, code: int, printed: list[str]) -> str:
    if why := why_unstartable(engine, app, work, code, printed):
        return why
    last = next((line for line in reversed(printed) if line.startswith(_WORKERS_OWN)), "".join(printed[-1:]))
    said = f": {last.removeprefix(_WORKERS_OWN)}" if last else ""
    return f"the worker ended with exit code {code} and no result{said}"

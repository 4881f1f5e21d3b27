"""What the worker's tests stand on: a real broker, a queue of their own, and workers as processes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pika
import psutil
import requests

from scripts.amqp.broker import parameters
from scripts.amqp.queues import failed_queue, queue_arguments, side_queues
from scripts.worker.headers import read_past
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]

# The worker of the image runs with another Python and another pika than the tests: so it can be chosen.
PYTHON = os.environ.get("CLUSTER_TEST_PYTHON", sys.executable)

ENTRY = (str(ROOT / "scripts"), "cluster_worker")


def patched(change: str) -> tuple[str, str]:
    """An entry where a line of Python comes first."""
    main = "from scripts import cluster_worker; sys.exit(cluster_worker.main(sys.argv[1:]))"
    return ("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {change}; {main}")


@dataclass(frozen=True)
class Message:
    """What was found in a queue."""

    body: bytes
    properties: Any

    @property
    def headers(self) -> dict[str, Any]:
        """All headers but the count of lost deliveries, which RabbitMQ 3 sets to 0 at the first."""
        headers = self.properties.headers or {}
        return {name: value for name, value in headers.items() if name != "x-delivery-count"}

    @property
    def lost(self) -> int:
        """How often it was delivered and came back, by the broker's count."""
        return read_past(self.properties, True, "").lost


# Of the workers' files: a test may start several at the same moment.
_NUMBERS = itertools.count()


class WorkerProcess:
    """A running cluster_worker; what it prints goes to files."""

    def __init__(self, arguments: list[str], tmp: Path, environ: dict[str, str], entry: Sequence[str] = ENTRY) -> None:
        number = next(_NUMBERS)
        self._out, self._err = tmp / f"worker-{number}.out", tmp / f"worker-{number}.err"
        command = [PYTHON, "-I", *entry, *arguments]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **environ}
            )

    @property
    def out(self) -> bytes:
        return self._out.read_bytes()

    @property
    def log(self) -> str:
        return self._err.read_text(errors="replace")

    def says(self, text: str, times: int = 1, timeout_s: float = 60) -> None:
        """Wait until its STDERR has this text."""
        try:
            until(lambda: self.log.count(text) >= times, f"the worker says {text!r}", timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it said:\n{self.log}") from error

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_code(self, timeout_s: float = 60) -> int:
        """Wait until it has ended, in good order."""
        code = self.process.wait(timeout_s)
        assert "did not confirm within" not in self.log
        return code

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code()

    def insist(self) -> int:
        """SIGTERM again, until it counts as a second one, and its exit code."""
        until(lambda: "ending what runs now" in self.log or self.signal(signal.SIGTERM), "it does not wait")
        return self.exit_code()

    def kill(self) -> None:
        """SIGKILL, if it still runs, and to the actions, which nobody else would end then."""
        actions = []
        if self.process.poll() is None:
            actions = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
        self.process.wait()
        for action in actions:
            with suppress(psutil.NoSuchProcess):
                action.kill()


class Gate:
    """Where an action says that it has started, and waits until it is let go."""

    def __init__(self, tmp: Path) -> None:
        self._started, self._open = tmp / "started", tmp / "open"
        self.wait = f"touch {self._started}; until [ -e {self._open} ]; do sleep 0.02; done"

    def started(self) -> None:
        until(self._started.exists, "the action runs")

    def open(self) -> None:
        self._open.touch()


class Rig:
    """One queue on a real broker, and the workers of one test."""

    def __init__(self, url: str, management: str, queue: str, tmp: Path) -> None:
        self.url, self.management, self.queue, self.tmp = url, management, queue, tmp
        self.failed = failed_queue(queue)
        self.gate = Gate(tmp)
        self.published = 0
        self._workers: list[WorkerProcess] = []

    def action(self, script: str, name: str = "action", interpreter: str = "/bin/sh") -> str:
        """An executable file with this text."""
        path = self.tmp / name
        path.write_text(f"#!{interpreter}\n{script}\n")
        path.chmod(0o755)
        return str(path)

    def python_action(self, script: str) -> str:
        return self.action(script, interpreter=f"{sys.executable} -I")

    def worker(
        self,
        *arguments: str,
        consuming: bool = True,
        url: str = "",
        queue: str = "",
        entry: Sequence[str] = ENTRY,
        **environ: str,
    ) -> WorkerProcess:
        """Start a worker, on the rig's own queue unless another is named; by default it consumes when this returns."""
        where = ["-u", url or self.url, "-q", queue or self.queue]
        worker = WorkerProcess([*where, *arguments], self.tmp, environ, entry)
        self._workers.append(worker)
        if consuming:
            worker.says("consuming from")
        return worker

    @contextmanager
    def channel(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(parameters(self.url))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    @cached_property
    def server(self) -> dict[str, Any]:
        """What the broker says of itself."""
        with self.channel() as channel:
            return dict(channel.connection._impl.server_properties)

    def api(self, method: str, path: str, content: Any = None) -> Any:
        """Ask the management API."""
        url = f"{self.management}/api/{path}"
        answer = requests.request(method, url, json=content, auth=("guest", "guest"), timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def lose(self, times: int) -> None:
        """Take a message as a worker does that is lost with its connection, so often."""
        for _ in range(times):
            with self.channel() as channel:
                until(lambda one=channel: one.basic_get(self.queue)[0], "it is there")

    def publish(self, *bodies: bytes, queue: str = "", **properties: Any) -> None:
        """Publish to the queue, confirmed; without an id of their own the messages get m0, m1, ..."""
        with self.channel() as channel:
            channel.confirm_delivery()
            for number, body in enumerate(bodies):
                given = {"message_id": f"m{number}", "delivery_mode": 2, **properties}
                channel.basic_publish("", queue or self.queue, body, pika.BasicProperties(**given), mandatory=True)
        self.published += len(bodies)

    def declare(self, queue: str = "", **arguments: Any) -> None:
        """Make the queue before any worker does."""
        with self.channel() as channel:
            quorum = queue_arguments("any", self.server)["any.failed"]
            channel.queue_declare(queue or self.queue, durable=True, arguments=quorum | arguments)

    def ready(self, queue: str = "") -> int:
        """How many messages are ready in the queue; 0 when there is no such queue."""
        with self.channel() as channel:
            try:
                return int(channel.queue_declare(queue or self.queue, passive=True).method.message_count)
            except pika.exceptions.ChannelClosedByBroker:
                return 0

    def lost_consumer_is_gone(self) -> None:
        """Wait until the broker, too, knows of a lost connection: what it had in hand has gone to the one consumer."""
        with self.channel() as channel:
            until(
                lambda: channel.queue_declare(self.queue, passive=True).method.consumer_count == 1,
                "one consumer is left",
            )

    def take(self, queue: str = "", count: int = 1, timeout_s: float = 60) -> list[Message]:
        """Wait for so many messages of a queue and take them out."""
        found: list[Message] = []
        with self.channel() as channel:

            def got() -> bool:
                method, properties, body = channel.basic_get(queue or self.queue, auto_ack=True)
                if method is not None:
                    found.append(Message(body, properties))
                return len(found) == count

            until(got, f"{count} messages in {queue or self.queue}", timeout_s)
        return found

    def take_failed(self, count: int = 1, timeout_s: float = 60) -> list[Message]:
        """Wait for so many messages of the failed queue and take them out."""
        until(lambda: self.ready(self.failed) >= count, f"{count} messages in {self.failed}", timeout_s)
        return self.take(self.failed, count)

    def close(self) -> None:
        """Kill the workers and delete the queues, also those of a worker on the failed queue."""
        for worker in self._workers:
            worker.kill()
        with self.channel() as channel:
            for queue in (self.queue, self.failed):
                for name in (queue, failed_queue(queue), *side_queues(queue)):
                    channel.queue_delete(name)

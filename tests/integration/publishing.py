"""`inv publish` as a process, and a queue looked at from outside."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from cluster.queue.publishing.resume import SIDECARS
from cluster.settings import ROOT
from scripts.amqp.broker import open_blocking


@dataclass(frozen=True)
class Message:
    id: str
    body: bytes
    headers: dict[str, str]
    properties: Any


class Queue:
    """A queue of the test's own, looked at from outside."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name

    def make(self, **arguments: Any) -> Self:
        with open_blocking(self.url) as connection:
            arguments = {"x-queue-type": "quorum"} | {key.replace("_", "-"): value for key, value in arguments.items()}
            connection.channel().queue_declare(self.name, durable=True, arguments=arguments)
        return self

    def delete(self) -> None:
        with open_blocking(self.url) as connection:
            connection.channel().queue_delete(self.name)

    def ready(self) -> int:
        with open_blocking(self.url) as connection:
            return self._ready(connection.channel())

    def _ready(self, channel: Any) -> int:
        return int(channel.queue_declare(self.name, passive=True).method.message_count)

    def take(self, count: int = 0) -> list[Message]:
        """All messages, or the first `count`; they are gone then."""
        found: list[Message] = []
        with open_blocking(self.url) as connection:
            channel = connection.channel()
            while wanted := count - len(found) if count else self._ready(channel):
                found += self._take(channel, wanted)
        return found

    def _take(self, channel: Any, count: int) -> list[Message]:
        found = []
        for method, properties, body in channel.consume(self.name, inactivity_timeout=60):
            assert method, f"{len(found)} of {count} messages came"
            found.append(Message(properties.message_id, body, properties.headers or {}, properties))
            if len(found) == count or len(found) % 1000 == 0:  # a quorum queue hands out no more than 2,000
                channel.basic_ack(method.delivery_tag, multiple=True)
            if len(found) == count:
                break
        channel.cancel()
        return found


class Publish:
    """`inv publish` as a process; `running` are those whose pipes are open."""

    running: ClassVar[list["Publish"]] = []

    def __init__(self, *args: str, stdin: Any = None, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "invoke", "publish", *args]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | (env or {})
        )
        self.out = ""
        self.running.append(self)

    def end(self, timeout_s: float = 120) -> tuple[int, str]:
        """Exit code and STDERR."""
        self.out, err = (text.decode() for text in self.process.communicate(timeout=timeout_s))
        return self.process.returncode, err

    def write(self, data: bytes) -> None:
        """Write to its STDIN and leave it open."""
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def said(self, text: str, timeout_s: float = 60) -> bool:
        """Read STDERR up to a line with this text."""
        assert self.process.stderr
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and (line := self.process.stderr.readline()):
            if text in line.decode():
                return True
        return False


def clean_up(inputs: Path) -> None:
    """End what still runs, and delete the sidecars of inputs in this folder."""
    while Publish.running:
        Publish.running.pop().stop()
    for sidecar in SIDECARS.glob("*.json"):
        if f'"path": "{inputs}/' in sidecar.read_text():
            sidecar.unlink()


def publish(*args: str, **kwargs: Any) -> tuple[int, str]:
    return Publish(*args, **kwargs).end()


def bodies(messages: list[Message]) -> list[bytes]:
    return [message.body for message in messages]


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)

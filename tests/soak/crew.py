"""The soak's workers, half with a kept-alive action, half with a prefetch of their own; and its publisher."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path

from cluster.queue.publishing.resume import SIDECARS
from cluster.settings import ROOT
from tests.soak import actions
from tests.soak.tally import Run

JOBS, PREFETCH = 4, 12
STOPPED_WITHIN_S = 30


class Crew:
    """So many workers on a queue; one that has ended is replaced by one with the next number."""

    def __init__(self, url: str, queue: str, folder: Path, size: int) -> None:
        self._url, self._queue, self._folder = url, queue, folder
        self._numbers = itertools.count(1)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._shell = folder / "action"
        self._shell.write_text(actions.SHELL)
        self._shell.chmod(0o755)
        for _ in range(size):
            self.add()

    @property
    def numbers(self) -> list[int]:
        return list(self._processes)

    def add(self) -> None:
        """Start one more."""
        number = next(self._numbers)
        runs = str(self._folder / f"runs.{number}")
        kept_alive = ["--keep-alive", "--framing", "netstring", "--", sys.executable, actions.__file__, runs]
        command = [
            sys.executable, "-I", str(ROOT / "scripts"), "cluster_worker", "-u", self._url, "-q", self._queue,
            "-j", str(JOBS), *(["--prefetch", str(PREFETCH)] if number % 4 > 1 else []),
            *(kept_alive if number % 2 else ["--", str(self._shell), runs]),
        ]  # fmt: skip
        with self._log(number).open("ab") as log:
            self._processes[number] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        """End one without warning, as a lost machine would."""
        self._processes[number].kill()
        self._processes.pop(number).wait()

    def stop(self, number: int) -> None:
        """Ask one to end, and fail when it does not, or not in good order."""
        self._processes[number].send_signal(signal.SIGTERM)
        try:
            code = self._processes[number].wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"worker {number} does not stop:\n{self.last_words(number)}") from None
        has_begun = "consuming from" in self._log(number).read_text(errors="replace")
        # Python itself takes a while to start, and a signal ends it then.
        fine = (0,) if has_begun else (0, -signal.SIGTERM)
        assert code in fine, f"worker {number} was stopped and exited with {code}:\n{self.last_words(number)}"
        del self._processes[number]

    def signal(self, number: int, what: signal.Signals) -> None:
        self._processes[number].send_signal(what)

    def check(self) -> None:
        """Fail when one has ended by itself."""
        for number, process in self._processes.items():
            code = process.poll()
            assert code is None, f"worker {number} exited with {code}:\n{self.last_words(number)}"

    def close(self) -> None:
        """Kill all."""
        for number in self.numbers:
            self.kill(number)

    def runs(self) -> dict[str, list[Run]]:
        """What their actions wrote down, by body."""
        found: dict[str, list[Run]] = {}
        booted = actions.booted_at()
        for path in self._folder.glob("runs.*"):
            for line in path.read_text().splitlines():
                body, verdict, began, ended, published = line.split()
                run = Run(int(path.suffix[1:]), verdict, booted + float(began), booted + float(ended), int(published))
                found.setdefault(body, []).append(run)
        return found

    def last_words(self, number: int) -> str:
        return "\n".join(self._log(number).read_text(errors="replace").splitlines()[-20:])

    def _log(self, number: int) -> Path:
        return self._folder / f"worker.{number}.log"


class Publishing:
    """`inv publish --file`, begun again with --resume whenever it has ended too early; `tick` until it is `done`."""

    def __init__(self, url: str, queue: str, items: Path) -> None:
        self._items = items
        self._log = items.with_suffix(".log")
        self._command = [
            sys.executable, "-m", "invoke", "publish", "--file", str(items), "-q", queue, "-u", url, "--create",
        ]  # fmt: skip
        self._resume = False
        self._start()

    @property
    def done(self) -> bool:
        return self._process.poll() == 0

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()
        self._process.wait()

    def tick(self) -> None:
        """Begin again when it has ended: whether there is something to resume, one that was killed cannot have said."""
        if self._process.poll():
            self._resume = not self._resume
            self._start()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        for sidecar in SIDECARS.glob(f"{self._items.name}-*"):
            sidecar.unlink()

    def last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def _start(self) -> None:
        command = [*self._command, *(["--resume"] if self._resume else [])]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

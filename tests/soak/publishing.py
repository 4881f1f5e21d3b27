"""The soak's publisher: `inv publish --file`, begun again with --resume whenever it has ended too early."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cluster.queue.publishing.resume import SIDECARS
from cluster.settings import ROOT

GIVES_UP_AFTER_S = 180


class Publishing:
    """Publishes the lines of a file; `tick` now and then until it is `done`."""

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

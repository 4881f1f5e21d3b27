"""Other programs, run with a time limit and without a terminal, so that none asks a person anything."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress


def run(command: Sequence[str], stdin: bytes = b"", *, limit_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end with `stdin` on its STDIN; one that takes longer is killed with all that it started.

    Raises:
        subprocess.TimeoutExpired: it took longer.
        OSError: it cannot be started.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            out, err = process.communicate(stdin, timeout=limit_s)
        except BaseException:  # Ctrl-C, too, of which another session hears nothing
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)

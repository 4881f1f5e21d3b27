"""What the soak's workers run: some messages fail once, some for good, some take longer, each run is written down.

Bodies are numbers: one that ends in 3 or 7 fails at its first attempt, one that ends in 99 fails for good. A run is a
line `body verdict began ended published` in a file of the worker's own; times in seconds since the machine's start
(which a shell can read without a further process), `published` in seconds since 1970.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

# Keep the two in step: one process a message, and a process for many.
SHELL = """\
#!/bin/sh
read -r began _ </proc/uptime
read -r body
case $body in *500) sleep 3 ;; *50) sleep 1.5 ;; *) sleep 0.02 ;; esac
case $body.$AMQP_ATTEMPT in
    *99.*) verdict=reject code=65 ;;
    *[37].1) verdict=retry code=1 ;;
    *) verdict=ok code=0 ;;
esac
read -r ended _ </proc/uptime
echo "$body $verdict $began $ended $AMQP_TIMESTAMP" >>"$1"
exit $code
"""


def uptime_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def booted_at() -> float:
    """The machine's start, in seconds since 1970."""
    return time.time() - uptime_s()


def pause_s(body: str) -> float:
    return 3 if body.endswith("500") else 1.5 if body.endswith("50") else 0.02


def verdict(body: str, attempt: int) -> str:
    if body.endswith("99"):
        return "reject"
    return "retry" if body.endswith(("3", "7")) and attempt == 1 else "ok"


def netstring() -> bytes:
    """The next one of STDIN; at its end this program ends."""
    digits = b""
    while (char := sys.stdin.buffer.read(1)) not in (b":", b""):
        digits += char
    if not digits:
        sys.exit(0)
    data = sys.stdin.buffer.read(int(digits))
    sys.stdin.buffer.read(1)
    return data


def main(path: str) -> None:
    # One write of one short line to a file opened for appending is never torn.
    runs = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with open(3, "w", buffering=1) as verdicts:
        print("ready 1", file=verdicts)
        while True:
            metadata, body = json.loads(netstring()), netstring().decode()
            began = uptime_s()
            time.sleep(pause_s(body))
            decided = verdict(body, metadata["attempt"])
            os.write(runs, f"{body} {decided} {began} {uptime_s()} {metadata['timestamp']}\n".encode())
            print(decided, file=verdicts)


if __name__ == "__main__":
    main(sys.argv[1])

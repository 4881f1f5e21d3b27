"""What the soak's workers run: some messages fail once, some for good, every success is written down.

Bodies are numbers. One that ends in 7 fails at its first attempt, one that ends in 99 fails for good. A success is a
line `body worker-pid seconds` in the file that is named by the first argument.
"""

from __future__ import annotations

import os
import sys
import time

EX_DATAERR = 65


def verdict(body: str, attempt: int) -> str:
    """`ok`, `retry` or `reject`."""
    if body.endswith("99"):
        return "reject"
    return "retry" if body.endswith("7") and attempt == 1 else "ok"


def write_down(path: str, body: str) -> None:
    """One write of one short line to a file opened for appending is never torn."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"{body} {os.getppid()} {time.time():.6f}\n".encode())
    os.close(file)


def one_message(path: str) -> int:
    """A process a message."""
    body = sys.stdin.read()
    decided = verdict(body, int(os.environ["AMQP_ATTEMPT"]))
    if decided == "ok":
        write_down(path, body)
    return {"ok": 0, "retry": 1, "reject": EX_DATAERR}[decided]


def many_messages(path: str) -> None:
    """Kept alive, framed as netstrings."""
    import json

    def netstring() -> bytes:
        digits = b""
        while (char := sys.stdin.buffer.read(1)) not in (b":", b""):
            digits += char
        if not digits:
            sys.exit(0)
        data = sys.stdin.buffer.read(int(digits))
        sys.stdin.buffer.read(1)
        return data

    with open(3, "w", buffering=1) as verdicts:
        print("ready 1", file=verdicts)
        while True:
            metadata, body = json.loads(netstring()), netstring().decode()
            decided = verdict(body, int(metadata["attempt"]))
            if decided == "ok":
                write_down(path, body)
            print(decided, file=verdicts)


if __name__ == "__main__":
    if sys.argv[2:] == ["kept-alive"]:
        many_messages(sys.argv[1])
    else:
        sys.exit(one_message(sys.argv[1]))

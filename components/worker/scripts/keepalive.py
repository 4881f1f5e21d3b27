#!/usr/bin/env python3
"""A kept-alive action in Python, for any bytes: cluster_worker --keep-alive --framing netstring ... keepalive.py

Counts the words of each message. What takes long (imports, a model) stands above `ready` and happens once.
"""

import json
import os
import sys


def netstring(stream):
    """The bytes of the next netstring, `LENGTH:BYTES,`; None at the end of the stream."""
    digits = b""
    while (byte := stream.read(1)) != b":":
        if not byte:
            return None
        digits += byte
    value = stream.read(int(digits))
    stream.read(1)
    return value


def main():
    """Answer message after message until STDIN ends."""
    if os.environ.get("CLUSTER_FRAMING", "netstring") != "netstring":
        sys.exit("keepalive.py takes netstrings, and not lines: --options '--framing netstring'")
    with open(3, "w", buffering=1) as verdicts:
        verdicts.write("ready 1\n")
        while (metadata := netstring(sys.stdin.buffer)) is not None:
            body = netstring(sys.stdin.buffer)
            try:
                text = body.decode()
            except UnicodeDecodeError as error:
                verdicts.write(f"reject {error}\n")
                continue
            result = f"{json.loads(metadata)['message_id']} {len(text.split())} words\n".encode()
            sys.stdout.buffer.write(result)
            sys.stdout.buffer.flush()
            verdicts.write(f"ok {len(result)}\n")


if __name__ == "__main__":
    main()

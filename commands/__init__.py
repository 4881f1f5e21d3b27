"""Thin Invoke tasks, one file a namespace: parse flags, one call, print."""

import _signal  # type: ignore[import-not-found]
import gc
import sys

# Until a task has its own way with it (interruption.py), Ctrl-C ends `inv` as it ends any program, and not with a
# traceback of what is being loaded. Who imports commands for something else keeps theirs.
# The module `signal` would load others first.
if sys.argv[0].endswith("tasks.py") and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from scripts.lean_import import lean_import

# What is loaded stays: looking through it for garbage again and again would be a twentieth of each start.
gc.set_threshold(20_000, 10, 10)

# For Invoke's MockContext, with which tests run tasks. With asyncio, which it brings, it is a quarter of each start.
lean_import("invoke", without="unittest.mock", name="Mock")

"""Thin Invoke tasks, one file a namespace: parse flags, one call, print."""

import gc

from scripts.lean_import import lean_import

# What is loaded stays: looking through it for garbage again and again would be a twentieth of each start.
gc.set_threshold(20_000, 10, 10)

# For Invoke's MockContext, with which tests run tasks. With asyncio, which it brings, it is a quarter of each start.
lean_import("invoke", without="unittest.mock", name="Mock")

"""Thin Invoke tasks, one file a namespace: parse flags, one call, print."""

from scripts.lean_import import lean_import

# For Invoke's MockContext, with which tests run tasks. With asyncio, which it brings, it is a quarter of each start.
lean_import("invoke", without="unittest.mock", name="Mock")

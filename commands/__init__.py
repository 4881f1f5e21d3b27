"""Thin Invoke tasks, one file a namespace: parse flags, one call, print."""

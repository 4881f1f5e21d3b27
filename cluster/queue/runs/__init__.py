"""Runs: items that are published, worked on, and whose results come back (`inv map`)."""

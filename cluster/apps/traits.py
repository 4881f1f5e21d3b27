"""The traits of engines that apps are fitted to."""

from __future__ import annotations

from typing import Protocol


class EngineTraits(Protocol):
    """The traits of an engine that make a difference to its apps.

    `address` is where it is (empty: this machine). `is_here` says that apps run on this machine alone, `has_images`
    that they run in containers, `limits_resources` that they get the CPUs and the memory that they ask for and no more,
    `makes_data_folders` that the engine makes folders for their data, as root.
    """

    address: str
    is_here: bool
    has_images: bool
    limits_resources: bool
    makes_data_folders: bool

    @property
    def user(self) -> str:
        """The user, in Docker's words, whom files that actions leave should belong to; empty: the image's."""

"""Libraries imported without a part that they load for others, where it is most of what they cost."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


def lean_import(library: str, without: str, name: str) -> None:
    """Import a library, in which what it takes by a `name` from the module `without` is None.

    What imports that module later gets it. Where it, or the library, is loaded already, nothing is changed.
    """
    if library in sys.modules or without in sys.modules:
        return
    sys.modules[without] = stand_in = ModuleType(without)
    setattr(stand_in, name, None)
    try:
        import_module(library)
    finally:
        del sys.modules[without]

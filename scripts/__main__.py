"""The entry of the launchers: `python -I scripts NAME ARGUMENTS...` runs main() of the module NAME.

Started as a folder, Python puts the folder itself first on its path; its parent is what the imports need.
"""

import sys
from importlib import import_module
from pathlib import Path

PROGRAMS = ("cluster_worker", "marathon_app_hostport", "slurm_keeper", "work_left")


def run() -> None:
    """Call main(arguments) of the named module."""
    del sys.argv[0]
    name = sys.argv[0] if sys.argv else ""
    if name not in PROGRAMS:
        print(f"error: {name!r} is not a program of this folder: those are {', '.join(PROGRAMS)}", file=sys.stderr)
        sys.exit(64)
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    import_module("scripts.streams").run(import_module(f"scripts.{name}").main)


if __name__ == "__main__":
    run()

#!/usr/bin/env python3
"""Sum up one day: `temperatures.py FOLDER`, a line `2025-01-31 -3.1 ... 2.4` on STDIN, FOLDER/2025-01-31.json out.

A template for an action that leaves a file for each message: exit 0 says done, 65 says that no further try can help,
anything else asks for another try.
"""

import json
import os
import re
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

EX_DATAERR = 65


def summed_up(line: str) -> dict[str, object]:
    """Lowest, mean and highest temperature of the day, in degrees Celsius, and its hours of frost."""
    day, *words = line.split()
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        raise ValueError(f"{day!r} is not a date")
    hours = [float(word) for word in words]
    return {
        "day": day,
        "low": min(hours),
        "mean": round(sum(hours) / len(hours), 2),
        "high": max(hours),
        "frost_hours": sum(degrees < 0 for degrees in hours),
    }


def main() -> int:
    """Read STDIN, write the file, say one line."""
    if len(sys.argv) != 2:
        print("usage: temperatures.py FOLDER", file=sys.stderr)
        return 1
    folder = Path(sys.argv[1])
    try:
        summary = summed_up(sys.stdin.read())
    except ValueError as error:
        print(f"not a day of temperatures: {error}", file=sys.stderr)
        return EX_DATAERR
    folder.mkdir(parents=True, exist_ok=True)
    # A message can be worked on twice; a rename leaves either the old file or the new one, never half of one. And a
    # draft with a name that can be guessed could be there already, as somebody's link to another file.
    with NamedTemporaryFile("w", dir=folder, prefix=".draft-", delete=False) as draft:
        os.fchmod(draft.fileno(), 0o644)
        json.dump(summary, draft)
    Path(draft.name).replace(folder / f"{summary['day']}.json")
    print(f"{summary['day']}: {summary['low']} to {summary['high']} °C")
    return 0


if __name__ == "__main__":
    sys.exit(main())

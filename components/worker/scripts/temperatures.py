#!/usr/bin/env python3
"""Sum up one day: a line `2025-01-31 -3.1 ... 2.4` on STDIN, its lowest, mean and highest temperature on STDOUT.

A template for an action that prints its result, for ./inv map to collect: exit 0 says done, 65 says that no further try
can help, anything else asks for another try.
"""

import sys
from datetime import date

EX_DATAERR = 65


def summed_up(line: str) -> str:
    """Return the day, its lowest, mean and highest temperature in degrees Celsius, and its hours of frost."""
    day, *words = line.split()
    hours = [float(word) for word in words]
    frost_hours = sum(degrees < 0 for degrees in hours)
    return f"{date.fromisoformat(day)} {min(hours)} {sum(hours) / len(hours):.2f} {max(hours)} {frost_hours}"


def main() -> int:
    """Read STDIN, print the result."""
    try:
        print(summed_up(sys.stdin.read()))
    except ValueError as error:
        print(f"not a day of temperatures: {error}", file=sys.stderr)
        return EX_DATAERR
    return 0


if __name__ == "__main__":
    sys.exit(main())

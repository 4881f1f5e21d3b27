"""The events of a build that the Docker Engine sends: steps, their output, and why one failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from docker.errors import DockerException

from cluster.engine.errors import problem_of
from scripts.errors import ClusterError

Event = Mapping[str, Any]

LAST_LINES = 12  # of a failed step's output, shown with the error
_KEPT_CHARACTERS = 8000
_SHOWN_CHARACTERS = 100

_STEP = re.compile(r"Step (\d+/\d+) : (.*)", re.DOTALL)
_EXIT_CODE = re.compile(r"returned a non-zero code: (\d+)")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")  # the classic builder paints STDERR red
_FULL = "no space left on device"
_NO_NETWORK = ("Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect")


@dataclass(frozen=True)
class Step:
    """A step of a Dockerfile, its place among all (`3/9`), and the end of what it printed."""

    place: str = ""
    instruction: str = ""
    printed: str = ""

    @property
    def summary(self) -> str:
        """The instruction in one line, cut to what a person would read."""
        words = " ".join(self.instruction.split())
        return words if len(words) <= _SHOWN_CHARACTERS else words[: _SHOWN_CHARACTERS - 3] + "..."

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it printed."""
        lines = (line.strip() for line in re.split(r"[\r\n]", _COLOR.sub("", self.printed)))
        return [line for line in lines if line][-LAST_LINES:]


def follow(doing: str, events: Iterable[Event], say: Callable[[str], None], show: Callable[[str], None]) -> None:
    """Follow a build to its end: `say` each command that it runs (not what is cached), `show` what is being printed."""
    step, problem = Step(), ""
    for event in events:  # to their end, so that the connection is free again
        problem = problem or problem_of(event)
        text = str(event.get("stream", ""))
        if begun := _STEP.match(text):
            step = Step(begun[1], begun[2])
        elif text.startswith(" ---> Running in"):
            if step.instruction.startswith("RUN "):  # other steps take a moment
                say(f"{doing}: {step.place} {step.summary}")
        elif not text.startswith((" ---> ", "Removing intermediate container")):
            step = replace(step, printed=(step.printed + text)[-_KEPT_CHARACTERS:])
            show(step.last_lines[-1] if step.last_lines else "")
    if problem:
        raise _failure(doing, step, problem)


def _failure(doing: str, step: Step, problem: str) -> ClusterError:
    if any(_FULL in text.lower() for text in (problem, step.printed)):
        raise DockerException(_FULL)  # which is not the step's failure
    exit_code = _EXIT_CODE.search(problem)
    how = f"with exit code {exit_code[1]}" if exit_code else f"({' '.join(problem.split())})"
    hint = "; what is built reaches no Debian mirror" if any(word in step.printed for word in _NO_NETWORK) else ""
    last = "".join(f"\n    {line}" for line in step.last_lines)
    return ClusterError(f"{doing}: step {step.place} failed {how}{hint}: {step.summary}{last}")

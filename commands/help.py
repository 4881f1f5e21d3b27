"""The help and the list: commands by what they are for, flags by what they say, and the words for values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from invoke.terminals import pty_size

from commands.output import bold

# Of each group the commands, or where a name ends in a dot, all that begin with it. Those of the first day are what a
# person needs who has a program and lines: an example, that on one message, on all, the state of it, and the end.
COMMANDS: Mapping[str, Sequence[str]] = {
    "The first day": ("demo", "worker.try", "map", "status", "down"),
    "Work, and what came of it": ("publish", "wait", "failed.", "map.", "results."),
    "Workers": ("worker.",),
    "The queue": ("queue.",),
    "Images, and the hosts of a cluster": ("registry.", "agents."),
    "Around it": ("completion", "test"),
}  # fmt: skip

# Of each group the flags, by name; those that no group has say how a thing is done.
_HOW = "How"
FLAGS: Mapping[str, Sequence[str]] = {
    "What": (
        "body", "file", "files", "line", "id", "item", "all", "reason", "exit_code", "run", "command", "tag", "action",
        "queue", "app", "name", "contents", "null", "lines_per_message", "skip_empty", "colsep", "header_row",
        "header", "output", "definition", "to", "data",
    ),
    _HOW: (),
    "Where": (
        "at", "marathon", "url", "host", "hosts", "hosts_file", "registry", "address", "on", "here", "engine_option",
    ),
    "Other": ("tail", "follow", "watch", "wait_timeout", "no_wait", "force", "yes", "dry_run", "json"),
}  # fmt: skip

# What stands for the value of a flag; of others it is TEXT, or N for a number. Shells complete FILE and ENGINE by it.
WORDS: Mapping[str, str] = {
    "file": "FILE", "files": "PATTERN", "output": "FILE", "hosts_file": "FILE", "definition": "FILE", "name": "NAME",
    "queue": "QUEUE", "tag": "IMAGE", "action": "ACTION", "app": "APP", "id": "ID", "item": "ITEMS", "run": "RUN",
    "command": "COMMAND",
    "at": "ENGINE", "url": "URL", "marathon": "HOST:PORT", "registry": "HOST:PORT", "address": "HOST:PORT",
    "host": "HOST", "on": "HOST", "hosts": "HOSTS", "env": "NAME=VALUE", "header": "NAME=VALUE",
    "engine_option": "NAME=VALUE", "volume": "HOST:CONTAINER", "constraint": "FIELD:OPERATOR", "to": "VERSION",
    "time": "TIME", "rabbitmq": "FOLDER", "halt": "N[%]", "shell": "SHELL",
}  # fmt: skip

INTRODUCTION = """\
Usage: ./inv COMMAND [FLAGS]        begin with: ./inv demo

  ./inv --help COMMAND    what it does, and its flags
  ./inv --version         the version of all this
"""

_NARROWEST, _WIDEST = 60, 100
_WIDEST_FLAG = 26  # the help of one that is longer stands below it


def tasks_of(namespace: Any) -> dict[str, Any]:
    """Return the tasks of a collection by their shortest names."""
    return {min([name, *others], key=len): namespace[name] for name, others in namespace.task_names.items()}


def listing(namespace: Any, only: str = "") -> str:
    """Return the list of the commands, by what they are for; `only` is the first half of their names."""
    summaries = {name: summary(task) for name, task in tasks_of(namespace).items()}
    found = {name: words for name, words in summaries.items() if not only or name.startswith(f"{only}.")}
    if only:
        return "\n".join(_columns(found.items()))
    width = max(map(len, found))
    return "\n\n".join(
        "\n".join([bold(title), *_columns(((name, found[name]) for name in names), width)])
        for title, names in grouped(found, COMMANDS, "Around it").items()
    )


def of_command(name: str, task: Any) -> str:
    """Return what a command does, and its flags, those first that it needs."""
    flags = {argument.name: argument for argument in task.get_arguments()}
    needed = [name for each in task.needs for name in each.split("|")]
    usage = [f"Usage: ./inv {name}", *(_needed(each, flags) for each in task.needs)]
    others = [each for each in flags if each not in needed]
    usage += ["[FLAGS]"] if others else []
    text = textwrap.fill(" ".join(usage), _width(), subsequent_indent=" " * 8, break_on_hyphens=False)
    parts = [f"{text}\n\n{textwrap.fill(task.__doc__, _width(), initial_indent='  ', subsequent_indent='  ')}"]
    groups = {"Needed": needed} if needed else {}
    groups |= grouped(others, FLAGS, _HOW)
    specs = {each: _spec(argument) for each, argument in flags.items()}
    width = max((len(spec) for spec in specs.values() if len(spec) <= _WIDEST_FLAG), default=0)
    for title, names in groups.items():
        lines = _columns(((specs[each], flags[each].help) for each in names), width)
        parts.append("\n".join([bold(title), *lines]))
    return "\n\n".join(parts)


def grouped(names: Iterable[str], groups: Mapping[str, Sequence[str]], rest: str) -> dict[str, list[str]]:
    """Return the names by their groups, in the order of these; what none has goes to the group `rest`."""
    left = list(names)
    found: dict[str, list[str]] = {}
    for title, wanted in groups.items():
        found[title] = [
            name for each in wanted for name in left if name == each or (each[-1] == "." and name.startswith(each))
        ]
        left = [name for name in left if name not in found[title]]
    found[rest] += left
    return {title: members for title, members in found.items() if members}


def summary(task: Any) -> str:
    """Return the first clause of what a command does."""
    return str(task.__doc__).partition("\n")[0].partition(";")[0].rstrip(".")


def word_of(argument: Any) -> str:
    """Return what stands for the value of a flag; empty where it takes none."""
    if not argument.takes_value:
        return ""
    return WORDS.get(argument.name, "N" if getattr(argument, "word", "") == "NUMBER" else "TEXT")


def _spec(argument: Any) -> str:
    long, *short = argument.names
    word = word_of(argument)
    return f"{f'-{short[0]}, ' if short else '    '}--{long}{f'={word}' if word else ''}"


def _needed(alternatives: str, flags: Mapping[str, Any]) -> str:
    specs = [_spec(flags[name]).split()[-1] for name in alternatives.split("|")]
    return specs[0] if len(specs) == 1 else f"({' | '.join(specs)})"


def _columns(rows: Iterable[tuple[str, str]], width: int = 0) -> Iterator[str]:
    """Yield the lines of two columns, the second one wrapped."""
    rows = list(rows)
    width = width or max((len(first) for first, _ in rows), default=0)
    for first, words in rows:
        lines = textwrap.wrap(words, _width() - width - 4, break_on_hyphens=False)
        if len(first) > width:
            yield f"  {first}"
        elif lines:
            yield f"  {first:{width}}  {lines.pop(0)}"
        yield from (f"{'':{width + 4}}{line}" for line in lines)


def _width() -> int:
    columns: int = pty_size()[0]
    return min(max(columns, _NARROWEST), _WIDEST)

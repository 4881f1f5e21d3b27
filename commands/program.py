"""The program `inv`: Invoke, which says of a wrong word what is right, and of itself what a newcomer needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import invoke
from invoke.exceptions import Exit, ParseError
from invoke.parser import Argument, Parser
from invoke.program import Program

from commands import help as helping
from commands.output import say
from commands.task import number_of
from scripts import VERSION
from scripts.errors import ClusterError


class _Config(invoke.Config):  # type: ignore[misc]
    """Invoke's own settings, as they are: what is in files and variables is ours (see cluster/settings_files.py)."""

    def load_system(self, merge: bool = True) -> None:
        """Load nothing."""

    load_user = load_project = load_runtime = load_system

    def load_shell_env(self) -> None:
        """Load nothing."""


class _Parser(Parser):  # type: ignore[misc]
    """Invoke's parser, which copies all commands for each parse; this one those that are named."""

    contexts: Any

    def parse_argv(self, argv: list[str]) -> Any:
        """Find the commands and their flags in words."""
        known = self.contexts
        self.contexts = {word: known[word] for word in argv if word in known}
        try:
            return super().parse_argv(argv)
        finally:
            self.contexts = known


class Inv(Program):  # type: ignore[misc]
    """Invoke's own program, for people who do not know Invoke."""

    def __init__(self) -> None:
        super().__init__(name="cluster-tasks", binary="./inv", version=VERSION, config_class=_Config)

    def main(self, argv: list[str]) -> int:
        """Run the command that the words of a command line name; the exit code.

        `completion bash` is what people type for `completion --shell bash`.
        """
        if argv[-2:-1] == ["completion"] and not argv[-1].startswith("-"):
            argv = [*argv[:-1], "--shell", argv[-1]]
        self.run([self.binary, *argv])
        return 0

    def core_args(self) -> list[Argument]:
        """Invoke's own flags, those with a number and the form of the list so that a wrong one is one line.

        Python may keep what it has compiled, which Invoke leaves to --write-pyc: each start is a quarter quicker.
        """
        found: list[Argument] = super().core_args()
        for argument in found:
            if argument.kind is int:
                argument.kind = number_of(int, argument.name)
            elif argument.name == "list-format":
                argument.kind = _list_format
            elif argument.name == "write-pyc":
                argument.default = True
        return found

    def update_config(self, merge: bool = True) -> None:
        """Leave Invoke's settings as they are: its flags for what goes through Invoke (`--pty`) change nothing here."""

    def _make_parser(self) -> Parser:
        """Invoke's hook for the parser of the tasks."""
        return _Parser(self.collection.to_contexts(), self.initial_context)

    def parse_tasks(self) -> None:
        """Find the tasks and flags in the words of the command line (ParseError with one line)."""
        try:
            super().parse_tasks()
        except ParseError as error:
            raise ParseError(explained(error, self.parser.contexts), error.context) from error
        if self.args.dry.value:
            # Its help promises that nothing is run; but what our tasks do goes past Invoke.
            raise ParseError("error: --dry and -R are none of ours: --dry-run shows what a command would do")

    def parse_cleanup(self) -> None:
        """Do what --help and --list ask for."""
        wanted = self.args.help.value
        if isinstance(wanted, str) and wanted not in self.parser.contexts:
            raise ParseError(_no_command(wanted, self.parser.contexts))
        super().parse_cleanup()

    def execute(self) -> None:
        """Read the settings, and run the tasks with them."""
        from cluster import settings_files

        try:
            self.config.load_overrides(settings_files.read(os.environ, self.args.config.value, say))
        except ClusterError as error:
            raise Exit(f"error: {error}", code=error.exit_code) from error
        super().execute()

    def list_flat(self) -> None:
        """Print the list of the commands, for --list."""
        if self.list_depth:
            super().list_flat()
        else:
            print(helping.listing(self.collection, self.list_root or ""))

    def print_task_help(self, name: str) -> None:
        """Print the flags of a command, for --help."""
        known = self.parser.contexts[name]
        print(helping.of_command(min([name, *known.aliases], key=len), self.collection[name]))

    def print_help(self) -> None:
        """Print what a newcomer needs, for bare `inv` and --help."""
        if not hasattr(self, "collection"):
            self.load_collection()
        print(f"{helping.INTRODUCTION}\n{helping.listing(self.collection)}")


def _list_format(text: str) -> str:
    if text not in ("flat", "nested", "json"):
        raise ParseError(f"error: --list-format wants flat, nested or json, not {text!r}")
    return text


def explained(error: ParseError, contexts: Any) -> str:
    """Invoke's complaint about a word, with a word that is right; `contexts` are the tasks by name."""
    import re

    words = str(error)
    unknown = re.fullmatch(r"No idea what (['\"])(.*)\1 is!", words, re.DOTALL)
    empty = re.search(r"<\w+: ([\w-]+).*> needed value", words)
    task = error.context.name if error.context else None
    if unknown and task and unknown[2].startswith("-"):
        flags = [flag for flag in contexts[task].flags if flag.startswith("--")]
        option = unknown[2].partition("=")[0].removeprefix("--")
        if "--engine-option" in flags and option in _engine_options():
            return f"error: {unknown[2]} is an option of an engine: write --engine-option {option}=VALUE"
        return (
            f"error: {unknown[2]} is not a flag of {task}{_nearest(unknown[2], flags)}: ./inv --help {task} lists them"
        )
    if unknown and task and "--files" in contexts[task].flags and os.path.lexists(unknown[2]):
        return f"error: {unknown[2]!r} is one file more than --files takes: put its pattern in quotes ('*.csv')"
    if unknown and task:
        return f"{_no_command(unknown[2], contexts)}, and ./inv --help {task} the flags of {task}"
    if unknown:
        return _no_command(unknown[2], contexts)
    if empty and task:
        return f"error: --{empty[1]} needs a value: ./inv --help {task} says which"
    return words if words.startswith("error: ") else f"error: {words}"


def _engine_options() -> set[str]:
    """Return the names of what is given to engines with --engine-option."""
    from cluster.schedulers.selection import SCHEDULERS

    return {option for engine in SCHEDULERS.values() for option in engine.load().options}


def _no_command(word: str, contexts: Any) -> str:
    if any(name.startswith(f"{word}.") for name in contexts):
        return f"error: {word!r} is the first half of several commands: ./inv --list {word} shows them"
    return f"error: {word!r} is not a command{_nearest(word, [*contexts, '--help'])}: ./inv --list shows them"


def _nearest(word: str, known: Iterable[str]) -> str:
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (do you mean {found[0]}?)" if found else ""

"""How a command is quoted for whatever shell a user has on a host."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.hosts.channels import quoted
from cluster.hosts.shell import Ran

SHELLS = [name for name in ("sh", "bash", "dash", "zsh", "fish", "tcsh") if shutil.which(name)]
NASTY = r"""a 'q' ''' "d" \ \\ \' $HOME `id` !! !x %h * ? [a] {b,c} ~ # ; & | < > ( ) \n end'"""


def printed(shell: str, word: str) -> str:
    return subprocess.run([shell, "-c", f"printf %s {quoted(word)}"], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("word", [NASTY, "", "'", "\\", "!", "'b", "a'", "''"])
def test_every_shell_reads_the_same_word(shell: str, word: str) -> None:
    assert printed(shell, word) == word


@given(st.text(alphabet="ab '\\!\"$`\n"))
def test_a_posix_shell_reads_any_word(word: str) -> None:
    assert printed("sh", word) == word


@pytest.mark.parametrize(
    ("ran", "reason"),
    [
        (Ran(1, b"out\n", b"one\ntwo\n\n"), "two"),
        (Ran(1, b"out\n", b" \n"), "out"),
        (Ran(4, b"", b""), "exit code 4"),
        (Ran(-1, b"", b""), "a signal ended it"),
        (Ran(1, b"", b"\xff\x1b[31m red"), "\ufffd\\x1b[31m red"),
    ],
)
def test_the_last_words_are_the_reason(ran: Ran, reason: str) -> None:
    assert ran.reason == reason

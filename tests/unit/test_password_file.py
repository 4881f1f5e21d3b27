from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from scripts import password_file
from scripts.errors import ClusterError
from scripts.password_file import password_in


@pytest.mark.parametrize("content", [b"s\xc3\xa4cret", b"s\xc3\xa4cret\n", b"s\xc3\xa4cret\r\n", b"s\xc3\xa4cret\n\n"])
def test_a_line_end_is_no_part_of_the_password(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    assert password_in(str(path), "X_FILE") == "säcret"


@pytest.mark.parametrize("content", [b" pass word \t\n", b"\x1b[31m"])
def test_all_else_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    assert password_in(str(path), "X_FILE") == content.decode().rstrip("\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xef\xbb\xbfsecret\n", "a byte order mark"),
        ("secret\n".encode("utf-16"), "a byte order mark"),
        ("secrät\n".encode("latin-1"), "not UTF-8"),
        (b"secret\nsecret\n", "more than one line"),
        (b"secret\rsecret", "more than one line"),
        (b"\nsecret\n", "more than one line"),
        (b"sec\0ret\n", "a zero byte"),
        (b"", "nothing in it"),
        (b"\r\n", "nothing in it"),
        (b"secret" * 1000, "more than 4096 bytes"),
    ],
)
def test_what_is_no_password_is_said_and_not_shown(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(ClusterError, match=rf"^X_FILE: {path} has .*{problem}") as caught:
        password_in(str(path), "X_FILE")
    assert "secr" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/", "is a directory"), ("/dev/zero", "no file and no pipe"), ("/dev/null", "no file"), ("/no/file", "no such")],
)
def test_what_is_no_file_is_named(path: str, problem: str) -> None:
    with pytest.raises(ClusterError, match=rf"^X_FILE: {path}: {problem}"):
        password_in(path, "X_FILE")


def test_a_pipe_is_read_to_its_end_once(tmp_path: Path) -> None:
    """As of the shell's `<(...)`: it has its content once, and is asked for it more than once."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("w") as pipe:
            pipe.write("sec")
            pipe.flush()
            time.sleep(0.2)
            pipe.write("ret\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert password_in(str(path), "X_FILE") == "secret"
    writer.join()
    assert password_in(str(path), "X_FILE") == "secret"


def test_a_pipe_that_nobody_writes_into_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(password_file, "_PIPE_PATIENCE_S", 0.1)
    with pytest.raises(ClusterError, match=rf"^X_FILE: {path}: a pipe into which nobody wrote"):
        password_in(str(path), "X_FILE")

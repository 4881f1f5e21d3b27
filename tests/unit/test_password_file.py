from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from scripts import password_file
from scripts.password_file import password_in
from tests.refusing import refusal


@pytest.mark.parametrize("ends", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("password", ["säcret", " pass word \t", "\x1b[31m"])
def test_a_line_end_is_no_part_of_the_password_and_all_else_is(tmp_path: Path, password: str, ends: str) -> None:
    path = tmp_path / "password"
    path.write_bytes((password + ends).encode())
    assert password_in(str(path), "X_FILE") == password


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
    found = refusal(password_in, str(path), "X_FILE")
    assert found.startswith(f"X_FILE: {path} has ")
    assert problem in found
    assert "secr" not in found


@pytest.mark.parametrize("path", ["/", "/dev/zero", "/dev/null", "/no/file"])
def test_what_is_no_file_is_named(path: str) -> None:
    assert f"X_FILE: {path}: " in refusal(password_in, path, "X_FILE")


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
    assert f"X_FILE: {path}: " in refusal(password_in, str(path), "X_FILE")

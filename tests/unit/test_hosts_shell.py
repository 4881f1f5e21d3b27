"""This machine as a shell."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.hosts.shell import ThisMachine
from scripts.errors import ClusterError
from scripts.hostport import HostPort
from tests.waiting import until

HERE = ThisMachine()


def test_a_command_has_stdin_both_outputs_and_its_exit_code() -> None:
    ran = HERE.run("cat; echo wrong >&2; exit 3", input=b"in\0put\n")
    assert (ran.code, ran.out, ran.err, ran.reason) == (3, b"in\0put\n", b"wrong\n", "wrong")


def test_much_input_and_output_at_once_does_not_block() -> None:
    ran = HERE.run("tee /dev/stderr", input=bytes(8_000_000))
    assert (len(ran.out), len(ran.err)) == (8_000_000, 8_000_000)


def test_input_that_is_not_read_is_no_failure() -> None:
    assert HERE.run("true", input=bytes(5_000_000)).code == 0


def test_a_command_that_a_signal_ended() -> None:
    assert HERE.run("kill -9 $$").code == -1


def is_there(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"0\.5 s"):
        HERE.run(f"sleep 60 & echo $! >{tmp_path}/pid; wait", timeout_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_there(pid), "the command's child has ended")


def test_a_step_that_fails_says_what_was_being_done() -> None:
    assert HERE.step("ask", "echo yes") == b"yes\n"
    with pytest.raises(ClusterError, match=r"move the file: mv: .*'nothing'"):
        HERE.step("move the file", "LC_ALL=C mv nothing /")


def test_a_file_is_written_once_and_left_alone_then(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "it's"
    assert HERE.read(str(path)) is None
    assert HERE.write(str(path), b"one\0\n", mode=0o600)
    before = path.stat()
    assert before.st_mode & 0o7777 == 0o600
    assert not HERE.write(str(path), b"one\0\n", mode=0o600)
    assert path.stat().st_ino == before.st_ino
    assert HERE.read(str(path)) == b"one\0\n"
    assert HERE.write(str(path), b"one\0\n", mode=0o755)
    assert HERE.write(str(path), b"two", mode=0o755)
    assert [one.read_bytes() for one in path.parent.iterdir()] == [b"two"]


def test_who_reads_while_a_file_is_written_sees_one_or_the_other_whole(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", [bytes([number]) * 100_000 for number in range(2)]
    HERE.write(str(path), contents[0], mode=0o600)
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(10):
        HERE.write(str(path), contents[number % 2], mode=0o600)
    over.set()
    looking.join()
    assert seen <= set(contents)


def test_a_file_that_may_not_be_written_is_named() -> None:
    with pytest.raises(ClusterError, match="write /proc/none/x: "):
        HERE.write("/proc/none/x", b"", mode=0o600)


def test_what_listens_is_reached_as_it_is() -> None:
    assert HERE.reach(HostPort("node1", 5672)) == HostPort("node1", 5672)

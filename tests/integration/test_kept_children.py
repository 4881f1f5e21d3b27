"""Kept-alive actions with real children on a bare event loop: what they do right, and all that can go wrong."""

import hashlib
import os
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.action import kept_alive
from scripts.action.jobs import Job, Outcome, RunLimits
from scripts.action.kept_alive import KeptAlive
from scripts.action.kept_life import KeepAlive
from scripts.event_loop import EventLoop
from tests.processes import runs

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "components/worker/scripts"
DEADLINE_S = 60

# Reads lines and answers with what each one says: `ok`, `reject why`, ... A helper for most of the tests below.
OBEDIENT = """
    import os, signal, sys, time
    verdicts = os.fdopen(3, "w", buffering=1)
    verdicts.write("ready 1\\n")
    for body in sys.stdin:
        exec(body)
"""


def ok(text: str = "pass") -> bytes:
    return f"{text}; verdicts.write('ok\\n')".encode()


class Bench:
    """A runner on its loop, and what it said."""

    def __init__(self, command: Sequence[str], limits: RunLimits, keep: KeepAlive) -> None:
        self.loop = EventLoop()
        self.outcomes: dict[str, Outcome] = {}
        self.changes = 0
        self.broken: list[str] = []
        self.closed = False
        self.runner = KeptAlive(self.loop, command, dict(os.environ), limits, keep)
        self.runner.open(self._changed, self.broken.append)

    def _changed(self) -> None:
        self.changes += 1

    def until(self, what: Callable[[], object]) -> None:
        """Run the loop until this is so."""
        end = time.monotonic() + DEADLINE_S

        def look() -> None:
            if what() or time.monotonic() > end:
                self.loop.stop()
            else:
                self.loop.call_later(0.005, look)

        look()
        self.loop.run()
        assert what()

    def until_free(self, count: int = 1) -> None:
        self.until(lambda: self.runner.free() == count)

    def start(self, *bodies: bytes, done: Callable[[], None] = lambda: None, result_limit: int | None = None) -> None:
        for body in bodies:
            name = str(len(self.outcomes))
            self.outcomes[name] = None  # type: ignore[assignment]

            def ended(outcome: Outcome, name: str = name) -> None:
                assert self.outcomes[name] is None, "done twice"
                self.outcomes[name] = outcome
                done()

            job = Job(name, body, dict, lambda name=name: {"message_id": name}, result_limit)
            self.runner.start(job, ended)

    def last(self) -> Outcome:
        self.until(lambda: all(self.outcomes.values()))
        return list(self.outcomes.values())[-1]

    def run(self, body: bytes, result_limit: int | None = None) -> Outcome:
        """Wait for a free child, hand it the message, wait for the outcome."""
        self.until(self.runner.free)
        self.start(body, result_limit=result_limit)
        return self.last()

    def close(self) -> None:
        def closed() -> None:
            self.closed = True

        self.runner.close(closed)
        self.until(lambda: self.closed)


def open_descriptors() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir()}


def close_signal_pipe() -> None:
    """What stays for the life of a worker where there is no pidfd."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pipe = signal.set_wakeup_fd(-1)
    if pipe >= 0:
        for fd in [int(fd) for fd in open_descriptors() if Path(f"/proc/self/fd/{fd}").exists()]:
            if os.path.sameopenfile(fd, pipe) and fd != pipe:
                os.close(fd)
        os.close(pipe)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Any]:
    """Makes benches with a program, and sees that nothing is left of them."""
    benches: list[Bench] = []
    before = open_descriptors()

    def make(program: str | list[str] = OBEDIENT, limits: RunLimits = RunLimits(None, 0.2), **keep: Any) -> Bench:  # noqa: B008
        command = program
        if isinstance(program, str):
            path = tmp_path / f"action{len(benches)}.py"
            path.write_text(dedent(program))
            command = [sys.executable, "-I", "-S", str(path)]
        benches.append(Bench([shutil.which(command[0]) or command[0], *command[1:]], limits, KeepAlive(**keep)))
        return benches[-1]

    yield make
    for one in benches:
        one.runner.kill()
        if not one.closed:
            one.close()
        one.loop.close()
    close_signal_pipe()
    # What other tests of this process left behind may be closed meanwhile.
    assert open_descriptors() <= before, "descriptors were left open"


def pid_in(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0


# What goes well


def test_messages_come_one_after_the_other_and_verdicts_are_outcomes(bench: Any, capfd: Any) -> None:
    one = bench()
    one.until_free()
    assert one.changes == 1
    first = one.run(ok("print('a', file=sys.stderr)"))
    assert (first.verdict, first.reason, first.stderr, first.exit_code) == ("done", "", b"a\n", None)
    assert first.seconds < DEADLINE_S
    assert abs(first.started_at - time.time()) < DEADLINE_S
    retry = one.run(b"print('some', 'text', flush=True); verdicts.write('retry 7.5 the server is busy\\n')")
    assert (retry.verdict, retry.reason, retry.retry_after_s) == ("failed", "the server is busy", 7.5)
    assert (retry.stderr, retry.received) == (b"", 10)
    reject = one.run(b"verdicts.write('reject no date\\n')")
    assert (reject.verdict, reject.reason, reject.received) == ("rejected", "no date", 0)
    assert one.run(b"verdicts.write('retry\\n')").reason == "retry"
    assert one.runner.free() == 1
    assert one.changes == 1, "an outcome says by itself that the child is free"
    assert capfd.readouterr() == ("some text\n", "a\n")


def test_nothing_is_handed_out_before_ready(bench: Any, tmp_path: Path) -> None:
    one = bench(f"""
        import os, time
        while not os.path.exists({str(tmp_path / "go")!r}):
            time.sleep(0.01)
        os.write(3, b"ready 1\\n")
        for body in open(0):
            os.write(3, b"ok\\n")
    """)
    one.until(lambda: not one.runner.free())
    assert one.changes == 0
    (tmp_path / "go").touch()
    assert one.run(b"").verdict == "done"


def test_the_next_message_can_be_handed_over_in_the_same_breath(bench: Any) -> None:
    one = bench()
    one.until_free()

    def again() -> None:
        assert one.runner.free() == 1
        if len(one.outcomes) < 500:
            one.start(ok(), done=again)

    one.start(ok(), done=again)
    one.until(lambda: len(one.outcomes) == 500)
    one.last()
    assert {outcome.verdict for outcome in one.outcomes.values()} == {"done"}


def test_several_children_work_at_once(bench: Any) -> None:
    one = bench(children=3)
    one.until_free(3)
    one.start(*[b"time.sleep(0.2); verdicts.write(f'reject {os.getpid()}\\n')"] * 3)
    assert one.runner.free() == 0
    one.last()
    assert len({outcome.reason for outcome in one.outcomes.values()}) == 3


def test_the_child_is_told_how_it_runs(bench: Any) -> None:
    one = bench(framing="lines")
    names = "' '.join(os.environ.get(n, '-') for n in ('CLUSTER_KEEP_ALIVE', 'CLUSTER_FRAMING', 'PATH'))"
    assert one.run(f"verdicts.write('reject ' + {names} + '\\n')".encode()).reason == f"1 lines {os.environ['PATH']}"


def test_signals_are_as_a_program_expects_them(bench: Any) -> None:
    program = "echo ready 1 >&3; read -r _; echo reject $(grep SigIgn /proc/self/status) >&3; cat"
    ignored = int(bench(["/bin/sh", "-c", program]).run(b"x").reason.removeprefix("SigIgn: "), 16)
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN, "Python ignores it"
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_lines_of_output_stay_whole_and_carry_their_messages_id(bench: Any, capfd: Any) -> None:
    one = bench(tagged=True)
    one.run(ok("print('one\\ntwo', flush=True); print('half', end=' ', flush=True)"))
    one.run(ok("print('line', flush=True); print('oops', file=sys.stderr)"))
    one.close()
    assert capfd.readouterr() == ("0\tone\n0\ttwo\n1\thalf line\n", "1\toops\n")


def test_the_last_line_of_a_child_gets_its_newline(bench: Any, capfd: Any) -> None:
    one = bench()
    one.run(ok("print('half', end='', flush=True)"))
    assert capfd.readouterr().out == ""
    one.close()
    assert capfd.readouterr().out == "half\n"


def test_what_was_printed_before_a_verdict_belongs_to_its_message(bench: Any) -> None:
    one = bench()
    one.until_free()

    def next_one() -> None:
        one.start(b"os.write(2, b'see there'); verdicts.write('retry\\n')")
        time.sleep(0.3)  # it answers now; the loop then sees its verdict first, being the pipe it saw last

    one.start(ok(), done=next_one)
    one.until(lambda: len(one.outcomes) == 2 and all(one.outcomes.values()))
    assert one.last().stderr == b"see there"


def test_a_body_with_a_newline_is_no_line(bench: Any) -> None:
    one = bench()
    outcome = one.run(b"a\nb")
    assert outcome.verdict == "rejected"
    assert outcome.reason == "the body has a newline at byte 1, so it is not one line: use --framing netstring"
    assert one.run(ok()).verdict == "done"


DIGESTS = f"""
    import hashlib, json, os, runpy, sys
    netstring = runpy.run_path({str(EXAMPLES / "keepalive.py")!r})["netstring"]
    os.write(3, b"ready 1\\n")
    while (metadata := netstring(sys.stdin.buffer)) is not None:
        body = netstring(sys.stdin.buffer)
        print(len(body) * "x", flush=True)
        os.write(3, f"reject {{json.loads(metadata)['message_id']}} {{hashlib.sha256(body).hexdigest()}}\\n".encode())
"""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(bodies=st.lists(st.binary(max_size=200_000), max_size=5))
def test_any_bytes_reach_the_child_as_netstrings(digests: Bench, bodies: list[bytes]) -> None:
    for body in bodies:
        name = str(len(digests.outcomes))
        assert digests.run(body).reason == f"{name} {hashlib.sha256(body).hexdigest()}"


@pytest.fixture
def digests(bench: Any, capfd: Any) -> Bench:
    return bench(DIGESTS, framing="netstring")  # type: ignore[no-any-return]


def test_a_body_larger_than_any_pipe_and_an_output_as_large_do_not_block_each_other(digests: Bench) -> None:
    body = os.urandom(1 << 20) * 20
    assert digests.run(body).reason == f"0 {hashlib.sha256(body).hexdigest()}"


def test_a_child_is_recycled_after_so_many_messages(bench: Any) -> None:
    one = bench(recycle_after=2)
    pids = [one.run(b"verdicts.write(f'reject {os.getpid()}\\n')").reason for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


# What goes wrong with a message in hand


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"os._exit(3)", "the action ended without a verdict: exit 3"),
        (b"os._exit(0)", "the action ended without a verdict: exit 0"),
        (b"os.kill(os.getpid(), signal.SIGSEGV)", "the action ended without a verdict: killed by SIGSEGV"),
        (b"verdicts.write('fine\\n')", "not a verdict on file descriptor 3: 'fine'"),
        (b"verdicts.write('\\n')", "not a verdict on file descriptor 3: ''"),
        (b"os.write(3, b'\\xff\\0\\n')", "not a verdict on file descriptor 3: '\ufffd\\x00'"),
        (b"os.write(3, b'o' * 9999)", "a line of more than 4096 bytes on file descriptor 3: '" + "o" * 60 + "'..."),
        (b"os.write(3, b'reject ' + b'o' * 4089 + b'\\n')", r"a line of more than 4096 bytes .*"),
        (b"os.write(3, b'ok\\nok\\n')", "two verdicts on one message: 'ok' and 'ok'"),
        (b"os.write(3, b'ok\\nrej')", "two verdicts on one message: 'ok' and 'rej'"),
        (b"os.close(3)", "the action closed file descriptor 3"),
        (b"pass", "over the time limit of 2 s"),
    ],
)
def test_an_attempt_fails_with_its_reason_and_the_child_is_replaced(bench: Any, body: bytes, reason: str) -> None:
    one = bench(limits=RunLimits(2.0 if body == b"pass" else DEADLINE_S, 0.2))
    outcome = one.run(body)
    assert outcome.verdict == "failed"
    assert re.fullmatch(reason, outcome.reason) or outcome.reason == reason
    assert one.runner.free() == 0
    assert one.run(ok()).verdict == "done"
    assert not one.broken


def test_the_longest_verdict_is_heard_in_pieces(bench: Any) -> None:
    one = bench()
    why = "o" * (4095 - len("reject "))
    write = b"[(os.write(3, b), time.sleep(0.01)) for b in (b'rej', b'ect ', b'o' * 4000, b'o' * 88, b'\\n')]"
    assert one.run(write).reason == why


def test_a_time_limit_ends_the_whole_group_though_it_does_not_want_to(bench: Any, tmp_path: Path) -> None:
    one = bench(limits=RunLimits(1.0, 0.3))
    script = f"trap '' TERM; echo $$ >{tmp_path}/pid; sleep 1000 & wait; while :; do sleep 1; done"
    body = f"import subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.run(['sh', '-c', {script!r}])"
    outcome = one.run(body.encode())
    assert outcome.reason == "over the time limit of 1 s"
    assert outcome.seconds >= 1.3
    assert not runs(pid_in(tmp_path / "pid"))


def test_stderr_tells_why_it_ended(bench: Any) -> None:
    outcome = bench().run(b"sys.stderr.write('x' * 9999); raise KeyError('no such station')")
    assert outcome.exit_code == 1
    assert len(outcome.stderr) == 4096
    assert outcome.stderr.endswith(b"KeyError: 'no such station'\n")


def test_no_background_process_outlives_its_child(bench: Any, tmp_path: Path) -> None:
    one = bench()
    path = tmp_path / "pid"
    one.run(
        ok(f"import subprocess; p = subprocess.Popen(['sleep', '1000']); open({str(path)!r}, 'w').write(str(p.pid))")
    )
    assert runs(pid_in(path))
    one.run(b"os._exit(1)")
    assert not runs(pid_in(path))


def test_a_child_that_does_not_read_is_over_its_time(bench: Any) -> None:
    one = bench(["/bin/sh", "-c", "echo ready 1 >&3; exec sleep 1000"], RunLimits(0.2, 0.2))
    assert one.run(b"x" * 1_000_000).reason == "over the time limit of 0.2 s"


def test_a_closed_stdin_is_found_out(bench: Any) -> None:
    one = bench(["/bin/sh", "-c", "echo ready 1 >&3; exec <&-; sleep 1000"])
    outcome = one.run(b"x")
    assert (outcome.verdict, outcome.reason) == ("failed", "the action closed its STDIN")


def test_a_verdict_given_before_the_end_of_its_message_counts(bench: Any) -> None:
    early = 'import os, sys; os.write(3, b"ready 1\\n")\nwhile sys.stdin.read(1): os.write(3, b"ok\\n"); {}'
    one = bench(early.format("sys.stdin.readline()"))
    for _ in range(3):
        assert one.run(b"x" * 1_000_000).verdict == "done"
    stubborn = bench(early.format("import time; time.sleep(1000)"))
    assert stubborn.run(b"x" * 1_000_000).verdict == "done"
    assert stubborn.runner.free() == 0, "it has not read the rest"
    assert stubborn.run(b"x").verdict == "done"


def test_a_child_that_gave_its_verdict_and_closed_its_stdin_gets_no_more(bench: Any) -> None:
    one = bench(
        ["/bin/sh", "-c", "echo ready 1 >&3; head -c 9 >/dev/null; exec <&-; sleep .2; echo ok >&3; sleep 1000"]
    )
    assert [one.run(b"x" * 1_000_000).verdict for _ in range(2)] == ["done", "done"]


# What goes wrong between messages


def test_a_child_that_ends_after_each_message_fails_none(bench: Any) -> None:
    one = bench("import os, sys; os.write(3, b'ready 1\\n'); sys.stdin.readline(); os.write(3, b'ok\\n')")
    one.until_free()

    def again() -> None:
        if len(one.outcomes) < 10:
            one.start(b"x", done=again)

    one.start(b"x", done=again)
    one.until(lambda: len(one.outcomes) == 10)
    one.last()
    assert {outcome.verdict for outcome in one.outcomes.values()} == {"done"}


def test_a_message_that_was_not_read_at_all_goes_to_the_next_child(bench: Any, tmp_path: Path) -> None:
    mark = tmp_path / "seen"
    one = bench(f"""
        import os, sys, time
        os.write(3, b"ready 1\\n")
        if not os.path.exists({str(mark)!r}):
            open({str(mark)!r}, "w").close()
            time.sleep(0.3)
            sys.exit(9)
        for line in sys.stdin:
            os.write(3, b"reject " + str(len(line)).encode() + b"\\n")
    """)
    assert one.run(b"x" * 500_000).reason == "500001"
    assert len(one.outcomes) == 1


@pytest.mark.parametrize("late", [b"; time.sleep(0.2); verdicts.write('ok\\n')", b"; verdicts.write('ok\\n')"])
def test_a_verdict_without_a_message_ends_the_child_but_no_message(bench: Any, late: bytes, capfd: Any) -> None:
    one = bench()
    body = b"verdicts.write(f'reject {os.getpid()}\\n')"
    first = one.run(body + late)
    if first.verdict == "failed":
        assert first.reason.startswith("two verdicts on one message")
        return
    one.until(lambda: one.runner.free() == 0)
    second = one.run(body)
    assert second.verdict == "rejected"
    assert second.reason != first.reason
    assert "a verdict without a message: 'ok'" in capfd.readouterr().err


def test_a_verdict_found_just_before_the_next_message_is_not_taken_for_its_own(bench: Any, tmp_path: Path) -> None:
    one = bench()
    go, written = tmp_path / "go", tmp_path / "written"
    two = [
        "verdicts.write(f'reject {os.getpid()}\\n')",
        f"[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(go)!r}), True)]",
        "verdicts.write('ok\\n')",
        f"open({str(written)!r}, 'w').close()",
    ]
    first = one.run("; ".join(two).encode())
    go.touch()
    while not written.exists():  # without the loop: it must not see the second verdict before the next message is there
        time.sleep(0.01)
    assert one.runner.free() == 1
    one.start(b"verdicts.write(f'reject {os.getpid()}\\n')")
    second = one.last()
    assert second.verdict == "rejected"
    assert second.reason != first.reason


def test_an_idle_child_that_dies_is_replaced(bench: Any) -> None:
    one = bench()
    pid = int(one.run(b"verdicts.write(f'reject {os.getpid()}\\n')").reason)
    os.kill(pid, 9)
    one.until(lambda: one.runner.free() == 0)
    assert one.run(ok()).verdict == "done"


# What cannot be started


def test_a_program_that_is_not_there_is_said_at_once(bench: Any) -> None:
    one = bench(["/no/such/action"])
    one.until(lambda: one.broken)
    assert one.broken == ["/no/such/action cannot be started: No such file or directory"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(5)", "exit 5"),
        ("import os; os.write(3, b'ready 2\\n'); input()", "the first line .* was not `ready 1`: 'ready 2'"),
        ("import os; os.write(3, b'ok\\n'); input()", "the first line .* was not `ready 1`: 'ok'"),
        ("import os; os.write(3, b'ready 1\\nok\\n'); input()", "a verdict without a message: 'ok'"),
        ("input()", "no `ready 1` on file descriptor 3 within 0.5 s"),
    ],
)
def test_a_program_that_does_not_get_ready_is_given_up(bench: Any, program: str, reason: str) -> None:
    one = bench(program, ready_timeout_s=0.5 if "within" in reason else DEADLINE_S, children=2)
    one.until(lambda: one.broken)
    assert re.match(f"the action came to nothing 3 times in a row: {reason}", *one.broken)
    assert one.changes == 0


@pytest.mark.parametrize("program", [["cat"], ["sh", "-c", "cat; :"], ["sh", "-c", "while read -r x; do :; done"]])
def test_a_program_that_waits_for_a_message_and_is_not_ready_is_given_up(
    bench: Any, program: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_alive, "_LOOK_EVERY_S", 0.1)
    one = bench(program, children=2)
    one.until(lambda: one.broken)
    (reason,) = one.broken
    assert program[0] in reason
    assert "`ready 1`" in reason


LOADS_BESIDE_A_READER = """
    import os, sys, threading, time
    ready = threading.Event()
    def read():
        for body in sys.stdin:
            ready.wait()
            os.write(3, b"ok\\n")
    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(1)
    os.write(3, b"ready 1\\n")
    ready.set()
    reader.join()
"""


@pytest.mark.parametrize(
    "program",
    [LOADS_BESIDE_A_READER, ["sh", "-c", "x=$(sleep 1); echo ready 1 >&3; while read -r x; do echo ok >&3; done"]],
    ids=["a thread reads ahead", "the output of another program is read"],
)
def test_a_program_that_loads_without_a_sign_of_life_is_waited_for(
    bench: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_alive, "_LOOK_EVERY_S", 0.02)
    one = bench(program)
    assert one.run(b"x").verdict == "done"
    assert not one.broken


def test_one_start_that_fails_is_no_reason_to_give_up(bench: Any, tmp_path: Path) -> None:
    one = bench(f"""
        import os, sys
        if len(os.listdir({str(tmp_path)!r})) < 3:
            open({str(tmp_path)!r} + f"/{{os.getpid()}}", "w").close()
            sys.exit(1)
        os.write(3, b"ready 1\\n")
        for body in sys.stdin:
            os.write(3, b"ok\\n")
    """)
    assert one.run(b"").verdict == "done"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_place_that_stays_empty_is_no_reason_to_give_up_while_others_work(bench: Any, tmp_path: Path) -> None:
    only = "import os, sys\nos.mkdir('{}')\nos.write(3, b'ready 1\\n')\nfor body in sys.stdin: os.write(3, b'ok\\n')"
    one = bench(only.format(tmp_path / "taken"), children=2)
    one.until(lambda: one.runner._places[0].failed_starts + one.runner._places[1].failed_starts == 4)
    assert not one.broken
    assert one.run(b"").verdict == "done"


def test_a_message_that_nobody_can_take_is_unstartable(bench: Any, tmp_path: Path) -> None:
    action = tmp_path / "action"
    action.write_text("#!/bin/sh\necho ready 1 >&3\nread -r _\necho ok >&3\nmv $0 $0.gone\n")
    action.chmod(stat.S_IRWXU)
    one = bench([str(action)])
    assert one.run(b"").verdict == "done"
    one.start(b"")
    outcome = one.last()
    assert (outcome.verdict, outcome.reason) == (
        "unstartable",
        f"{action} cannot be started: No such file or directory",
    )
    assert one.broken == [outcome.reason]


def test_a_program_that_never_reads_does_not_pass_a_message_on_for_ever(bench: Any) -> None:
    one = bench(["/bin/sh", "-c", "echo ready 1 >&3; sleep 0.2; exit 7"])
    outcome = one.run(b"x")
    assert (outcome.verdict, outcome.reason) == ("unstartable", "the action came to nothing 3 times in a row: exit 7")


# Stopping


def test_killed_is_killed(bench: Any) -> None:
    one = bench(children=2)
    one.until_free(2)
    one.start(b"signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)", b"time.sleep(1000)")
    one.runner.kill()
    outcomes = [one.last(), *one.outcomes.values()]
    assert {(outcome.verdict, outcome.reason) for outcome in outcomes} == {("killed", "stopped with the worker")}
    one.close()
    assert one.runner.free() == 0


def test_the_end_of_stdin_lets_a_child_finish(bench: Any, capfd: Any) -> None:
    one = bench(OBEDIENT + '    print("tidied up")\n')
    one.run(ok())
    one.close()
    assert capfd.readouterr().out == "tidied up\n"


def test_a_child_that_does_not_finish_is_ended(bench: Any) -> None:
    one = bench(OBEDIENT + "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(1000)\n")
    one.run(ok())
    before = time.monotonic()
    one.close()
    assert 0.4 <= time.monotonic() - before < DEADLINE_S


def test_a_child_that_still_loads_is_not_waited_for(bench: Any) -> None:
    one = bench(["/bin/sleep", "1000"], RunLimits(None, 1000))
    one.until(lambda: one.runner._lives())
    one.close()


# Without pidfd


def test_it_works_on_a_kernel_without_pidfd(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(pid: int) -> int:
        raise OSError("not here")

    monkeypatch.setattr(os, "pidfd_open", missing)
    one = bench()
    assert one.run(b"os._exit(3)").reason == "the action ended without a verdict: exit 3"
    assert one.run(ok()).verdict == "done"


def test_a_verdict_right_before_the_end_counts_there_too(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    one = bench(children=2)
    one.until_free(2)
    # Both end while the loop is busy with the first; SIGCHLD tells of the second before its pipe does.
    one.start(b"os._exit(3)", done=lambda: time.sleep(0.6))
    one.start(b"time.sleep(0.3); verdicts.write('ok\\n'); os._exit(0)")
    assert one.last().verdict == "done"


# What is shipped and documented


def code_blocks(language: str) -> list[str]:
    text = (ROOT / "docs/keep-alive.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_eight_lines_of_shell_are_enough(bench: Any, tmp_path: Path, capfd: Any) -> None:
    [documented] = code_blocks("sh")
    lines = documented.splitlines()
    assert len(lines) == 8
    action = tmp_path / "action.sh"
    action.write_text(documented)
    one = bench(["/bin/sh", str(action)])
    assert one.run(b"one two").verdict == "done"
    assert one.run(b"three\n").verdict == "done"
    assert capfd.readouterr().out.split() == ["2", "1"]


@pytest.mark.parametrize(
    ("number", "language", "name"),
    [(0, "sh", "keepalive.sh"), pytest.param(1, "r", "chars.r", marks=pytest.mark.program("Rscript"))],
)
def test_the_documented_trial_shows_what_it_shows(tmp_path: Path, number: int, language: str, name: str) -> None:
    command, _, shown = code_blocks("console")[number].partition("\n")
    [documented] = code_blocks(language)
    shebang = "" if documented.startswith("#!") else "#!/usr/bin/env Rscript\n"
    (tmp_path / name).write_text(shebang + documented)
    (tmp_path / name).chmod(stat.S_IRWXU)
    shutil.copy(EXAMPLES / "cluster_action.r", tmp_path)
    with os.popen(f"cd {tmp_path}; {command.removeprefix('$ ')}") as run:
        assert run.read() == shown


EXAMPLE_KEEPALIVE = {
    "sh": ([str(EXAMPLES / "keepalive.sh")], "lines"),
    "py": ([sys.executable, str(EXAMPLES / "keepalive.py")], "netstring"),
}


@pytest.mark.parametrize(("language", "body", "shown"), [("sh", b"one two", "2"), ("py", b"one\ntwo", "0 2 words")])
def test_the_shipped_example_works(bench: Any, capfd: Any, language: str, body: bytes, shown: str) -> None:
    command, framing = EXAMPLE_KEEPALIVE[language]
    one = bench(command, framing=framing)
    assert one.run(body).verdict == "done"
    assert framing == "lines" or one.run(b"\xff").verdict == "rejected"
    assert capfd.readouterr().out.strip() == shown


@pytest.mark.program("Rscript")
def test_the_shipped_r_example_works(bench: Any, capfd: Any) -> None:
    one = bench(["Rscript", str(EXAMPLES / "keepalive.r")])
    assert one.run(b"1 2 6").verdict == "done"
    assert one.run(b"one").verdict == "rejected"
    assert one.run(b"").reason == "there is no number in it"
    assert one.run(b"4\n").verdict == "done"
    one.close()
    assert capfd.readouterr() == ("mean 3\nmean 4\n", "")


@pytest.mark.parametrize(
    ("language", "program"),
    [("python", sys.executable), pytest.param("r", "Rscript", marks=pytest.mark.program("Rscript"))],
)
def test_the_documented_program_works(bench: Any, tmp_path: Path, capfd: Any, language: str, program: str) -> None:
    [documented] = code_blocks(language)
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(EXAMPLES / "cluster_action.r", folder)
    (folder / "action").write_text(documented)
    one = bench([program, str(folder / "action")])
    assert one.run(b"12345").verdict == "done"
    one.close()
    assert capfd.readouterr().out == "got 5 characters\n"


# Results: `ok BYTES` says how much of STDOUT is one.

LIMIT = 1000


def printed(text: str, flushed: bool = True) -> str:
    return f"sys.stdout.write({text!r}){'; sys.stdout.flush()' if flushed else ''}"


def answered(*steps: str, verdict: str) -> bytes:
    return "; ".join([*steps, f"verdicts.write('{verdict}\\n')"]).encode()


def test_a_result_is_what_was_counted_and_is_not_printed(bench: Any, capfd: pytest.CaptureFixture[str]) -> None:
    one = bench()
    for text in ("one\n", "", "a\nb"):
        outcome = one.run(answered(printed(text), verdict=f"ok {len(text)}"), LIMIT)
        assert (outcome.verdict, outcome.result) == ("done", text.encode())
    assert one.run(answered(printed("log\n"), verdict="ok 4")).result == b""
    one.close()
    assert capfd.readouterr().out == "log\n"


def test_bytes_that_come_after_the_verdict_are_waited_for(bench: Any) -> None:
    late = answered(printed("ab"), verdict="ok 4").decode() + "; time.sleep(0.05); " + printed("cd")
    assert bench(limits=RunLimits(None, 5)).run(late.encode(), LIMIT).result == b"abcd"


def test_output_that_was_not_flushed_is_no_other_items_result(bench: Any) -> None:
    one = bench()
    assert one.run(answered(printed("first", flushed=False), verdict="ok"), LIMIT).result == b""
    second = one.run(answered(printed("two"), verdict="ok 3"), LIMIT)
    assert (second.verdict, "ok 3" in second.reason, "8" in second.reason) == ("failed", True, True)
    third = one.run(answered(printed("three"), verdict="ok 5"), LIMIT)
    assert (third.verdict, third.result) == ("done", b"three")


def test_a_result_that_never_comes_fails_the_attempt(bench: Any) -> None:
    one = bench()
    outcome = one.run(answered(printed("lost", flushed=False), verdict="ok 4"), LIMIT)
    assert (outcome.verdict, "ok 4" in outcome.reason) == ("failed", True)
    assert one.run(answered(printed("next"), verdict="ok 4"), LIMIT).result == b"next"


def test_what_was_printed_and_not_counted_is_refused(bench: Any) -> None:
    outcome = bench().run(answered(printed("a"), verdict="ok"), LIMIT)
    assert (outcome.verdict, "ok BYTES" in outcome.reason) == ("rejected", True)


@pytest.mark.parametrize("verdict", ["ok 3000", "ok 5", ""])
def test_a_result_over_the_limit_is_refused_and_the_child_replaced(bench: Any, verdict: str) -> None:
    one = bench()
    outcome = one.run(
        answered(printed("x" * 3000), verdict=verdict) if verdict else printed("x" * 3000).encode(), LIMIT
    )
    assert (outcome.verdict, "--result-limit" in outcome.reason) == ("rejected", True)
    assert len(outcome.result) <= LIMIT
    assert one.run(answered(verdict="ok 0"), LIMIT).verdict == "done"


@pytest.mark.parametrize("verdict", ["retry", "reject why"])
def test_a_failure_has_what_was_printed(bench: Any, verdict: str) -> None:
    assert bench().run(answered(printed("half"), verdict=verdict), LIMIT).result == b"half"

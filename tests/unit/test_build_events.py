"""What is said of a build, from the events that an engine sends (recorded from 20.10's classic builder)."""

from collections.abc import Iterable

import pytest
from docker.errors import DockerException

from cluster.images.build import LAST_LINES, Event, follow
from scripts.errors import ClusterError

BEGUN = [
    {"stream": "Step 1/3 : FROM debian:trixie-slim"},
    {"stream": "\n"},
    {"stream": " ---> d43e73dcb889\n"},
    {"stream": "Step 2/3 : RUN true"},
    {"stream": "\n"},
    {"stream": " ---> Using cache\n"},
    {"stream": " ---> 5ea8d097d20a\n"},
    {"stream": "Step 3/3 : RUN apt-get update     && apt-get install --yes R"},
    {"stream": "\n"},
    {"stream": " ---> Running in 63c1562d2831\n"},
]


def read(events: Iterable[Event]) -> tuple[list[str], list[str]]:
    said: list[str] = []
    shown: list[str] = []
    follow("build x:1", events, said.append, shown.append)
    return said, shown


def failed(*events: Event) -> str:
    with pytest.raises(ClusterError) as failure:
        read([*BEGUN, *events])
    return str(failure.value)


def test_only_commands_that_run_are_said() -> None:
    said, _ = read([*BEGUN, {"stream": "Removing intermediate container 63c1562d2831\n"}, {"aux": {"ID": "sha256:1"}}])
    assert said == ["build x:1: 3/3 RUN apt-get update && apt-get install --yes R"]
    assert read([{"stream": "Step 1/1 : USER worker"}, {"stream": " ---> Running in 1\n"}])[0] == []


def test_what_is_printed_is_shown_by_the_line() -> None:
    _, shown = read([*BEGUN, {"stream": "Get:1 tr"}, {"stream": "ixie\nGet:2"}])
    assert shown[-2:] == ["Get:1 tr", "Get:2"]


def test_a_failed_step_is_named_with_its_last_lines() -> None:
    text = failed(
        {"stream": "Reading lists\n"},
        {"stream": "\x1b[91mE: no package\r\n\n"},
        {"stream": "\x1b[0m"},
        {
            "errorDetail": {"code": 100, "message": "The command '/bin/sh -c apt-get' returned a non-zero code: 100"},
            "error": "The command '/bin/sh -c apt-get' returned a non-zero code: 100",
        },
    )
    assert text == (
        "build x:1: step 3/3 failed with exit code 100: RUN apt-get update && apt-get install --yes R\n"
        "    Reading lists\n"
        "    E: no package"
    )


def test_lines_of_an_earlier_step_and_more_than_a_screen_are_not_shown() -> None:
    lines = "".join(f"line {number}\n" for number in range(100))
    text = failed({"stream": "early\n"}, {"stream": "Step 4/4 : RUN x"}, {"stream": lines}, {"error": "no"})
    assert text.splitlines()[0] == "build x:1: step 4/4 failed (no): RUN x"
    assert text.splitlines()[1:] == [f"    line {number}" for number in range(100 - LAST_LINES, 100)]


def test_a_long_command_is_cut() -> None:
    long = {"stream": "Step 4/4 : RUN " + "word " * 100}
    first_line = failed(long, {"error": "no"}).splitlines()[0]
    assert len(first_line) < 160
    assert first_line.endswith("...")


def test_a_build_without_a_network_says_so() -> None:
    text = failed(
        {"stream": "Err:1 Temporary failure resolving 'mirror'\n"}, {"error": "returned a non-zero code: 100"}
    )
    assert "reaches no Debian mirror" in text.splitlines()[0]


@pytest.mark.parametrize(
    "events",
    [
        [{"error": "write /var/lib/x: no space left on device"}],
        [{"stream": "cp: error writing 'x': No space left on device\n"}, {"error": "returned a non-zero code: 1"}],
    ],
)
def test_a_full_disk_is_left_to_who_knows_where_it_is(events: list[Event]) -> None:
    with pytest.raises(DockerException, match="no space left on device"):
        read([*BEGUN, *events])

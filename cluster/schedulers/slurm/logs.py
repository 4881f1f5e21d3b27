"""The logs of jobs, files in a folder of the cluster: read in pieces, so that they can be followed anywhere."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from cluster.hosts.shell import Shell
from cluster.schedulers import Wanted, every_line

_PIECE = 1024 * 1024
_EVERY_S = 1.0

# For each file its name, and how many bytes follow, which begin at the offset that was read before.
_NEW = """
cd {folder} 2>/dev/null || exit 0
for file in {files}; do
    [ -f "$file" ] || continue
    from=0
    case " {offsets} " in *" $file:"*) from=${{offsets##* $file:}}; from=${{from%% *}} ;; esac
    size=$(($(stat -c %s "$file") - from))
    if [ "$size" -gt {piece} ]; then size={piece}; fi
    [ "$size" -gt 0 ] || continue
    printf '%s %s\\n' "$file" "$size"
    tail -c "+$((from + 1))" "$file" | head -c "$size"
done
"""


class Reader:
    """Reads what is new in log files: each whole line with the id of its job."""

    def __init__(self, shell: Shell, folder: str) -> None:
        self._shell, self._folder = shell, folder
        self._offsets: dict[str, int] = {}
        self._rest: dict[str, bytes] = {}

    def skip_to_end(self) -> None:
        """Count all that is there as read."""
        text = self._shell.step("look for logs", f"cd {shlex.quote(self._folder)} && stat -c '%n %s' *.log; true")
        for line in text.decode().splitlines():
            name, _, size = line.rpartition(" ")
            self._offsets[name] = int(size)

    def new(self, files: str = "*.log", last: bool = False) -> Iterator[tuple[str, str]]:
        """Yield lines that have come; with `last` also one without an end."""
        while found := self._pieces(files):
            for name, piece in found:
                self._offsets[name] = self._offsets.get(name, 0) + len(piece)
                *lines, self._rest[name] = (self._rest.get(name, b"") + piece).split(b"\n")
                yield from ((name.removesuffix(".log"), _text(line)) for line in lines)
        for name, rest in self._rest.items() if last else ():
            if rest:
                yield name.removesuffix(".log"), _text(rest)

    def _pieces(self, files: str) -> list[tuple[str, bytes]]:
        offsets = " ".join(f"{name}:{offset}" for name, offset in self._offsets.items())
        script = f"offsets=' {offsets} '\n" + _NEW.format(
            folder=shlex.quote(self._folder), files=files, offsets="$offsets", piece=_PIECE
        )
        content = self._shell.step("read logs", script)
        found = []
        while content:
            header, _, content = content.partition(b"\n")
            name, _, size = header.decode().rpartition(" ")
            found.append((name, content[: int(size)]))
            content = content[int(size) :]
        return found


def lines(shell: Shell, folder: str, ids: Sequence[str], tail: int, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Yield the last `tail` of the `wanted` lines of each of these jobs."""
    if wanted is every_line:
        yield from _last(shell, folder, ids, tail)
        return
    kept: dict[str, deque[str]] = {job_id: deque(maxlen=tail) for job_id in ids}
    for job_id, line in Reader(shell, folder).new(last=True):
        if job_id in kept and wanted(line):
            kept[job_id].append(line)
    yield from ((job_id, line) for job_id, found in kept.items() for line in found)


def _last(shell: Shell, folder: str, ids: Sequence[str], tail: int) -> Iterator[tuple[str, str]]:
    """Yield the last lines of each file, which a zero byte and its name precede."""
    one = f'[ -f "$id.log" ] && printf \'\\0%s\\n\' "$id" && tail -n {tail} "$id.log" | tr -d \'\\0\''
    command = f"cd {shlex.quote(folder)} 2>/dev/null || exit 0; for id in {shlex.join(ids)}; do {one}; done; true"
    for piece in shell.step("read logs", command).split(b"\0")[1:] if ids else ():
        name, *found = piece.removesuffix(b"\n").split(b"\n")
        yield from ((name.decode(), _text(line)) for line in found)


def follow(reader: Reader, is_over: Callable[[], bool], wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Yield the `wanted` lines that come, of jobs to come as well, until it is over."""
    over = False
    while not over:
        over = is_over()  # asked before the files are read, so that the last lines are not lost
        yield from ((job_id, line) for job_id, line in reader.new(last=over) if wanted(line))
        time.sleep(0 if over else _EVERY_S)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")

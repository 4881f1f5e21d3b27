"""What commands print for `$( )` and pipes."""

import subprocess
import sys

from cluster.settings import ROOT

ENDLESS = "from commands.output import result\nwhile True: result('a line')"


def test_a_reader_that_goes_away_ends_the_command_without_a_word() -> None:
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ended:
        assert ended.stdout is not None
        assert ended.stderr is not None
        assert ended.stdout.readline() == b"a line\n"
        ended.stdout.close()
        assert ended.wait(20) == 141
        assert ended.stderr.read() == b""

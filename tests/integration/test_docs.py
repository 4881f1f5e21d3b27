"""The programs that the documents show do what is said of them."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import Broker
from tests.integration.publishing import Queue
from tests.integration.worker_rig import ROOT, Rig

pytestmark = pytest.mark.broker


def shown(document: str, language: str, word: str = "") -> str:
    """The one program in a language that a document shows, of those with a `word`."""
    programs = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    (program,) = (program for program in programs if word in program)
    return str(program)


def run(program: str, broker: Broker, queue: str, rig: Rig) -> str:
    """Run a Python program that names the queue of this machine, and return what it prints."""
    assert "amqp://127.0.0.1" in program
    program = re.sub(r"amqp://127\.0\.0\.1(:5672)?", broker.url, program).replace("myqueue", queue)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=rig.tmp, env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_publishing_from_python(rig: Rig, broker: Broker, queue_name: str) -> None:
    queue = Queue(broker.url, queue_name).make()
    (rig.tmp / "items.txt").write_text("a\nb\n")
    printed = run(shown("docs/publishing.md", "python"), broker, queue_name, rig)
    assert printed.splitlines()[-1].startswith("1000 ")
    assert [message.body for message in queue.take()] == [b"a", b"b", *(b"%d" % number for number in range(1000))]


def test_asking_for_a_result_from_python(rig: Rig, broker: Broker, queue_name: str) -> None:
    rig.worker("wc", "-w")
    assert run(shown("docs/map.md", "python", "import pika"), broker, queue_name, rig) == "1 0 b'3\\n'\n"


@pytest.mark.parametrize(
    "language", [pytest.param("r", marks=pytest.mark.program("Rscript")), pytest.param("python")]
)  # fmt: skip
def test_simulations_of_one_line(rig: Rig, language: str) -> None:
    script = rig.tmp / "mc"
    script.write_text(shown("docs/map.md", language, "#!"))
    script.chmod(0o755)
    printed = [subprocess.check_output([script, "0.5", "10000"], text=True) for _ in range(2)]
    assert float(printed[0]) == pytest.approx(1 / 1.5, abs=0.02)
    assert printed[0] == printed[1]
    assert subprocess.run([script, "2;5", "10000"], check=False).returncode == 65

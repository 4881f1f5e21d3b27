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


def shown(document: str, language: str) -> str:
    """The one program in a language that a document shows."""
    (program,) = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    return str(program)


def test_publishing_from_python(rig: Rig, broker: Broker, queue_name: str) -> None:
    queue = Queue(broker.url, queue_name).make()
    program = shown("docs/publishing.md", "python")
    assert "amqp://127.0.0.1:5672" in program
    program = program.replace("amqp://127.0.0.1:5672", broker.url).replace("myqueue", queue_name)
    (rig.tmp / "items.txt").write_text("a\nb\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=rig.tmp, env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("1000 ")
    assert [message.body for message in queue.take()] == [b"a", b"b", *(b"%d" % number for number in range(1000))]

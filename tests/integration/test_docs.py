"""The programs that the documents show do what is said of them."""

import os
import re
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.integration.publishing import Queue
from tests.integration.worker_rig import ROOT, Rig
from tests.slurm.cluster import SlurmCluster

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


@pytest.mark.program("openssl")
def test_certificates_of_a_ca_of_ones_own(tmp_path: Path) -> None:
    """The strict checks are Python 3.13's default, which is in the worker's image."""
    steps = re.findall(
        r"^    (openssl (?:req|x509)(?:.*\\\n)*.*)$", (ROOT / "docs/security.md").read_text(), re.MULTILINE
    )
    subprocess.run(["sh", "-ec", "\n".join(steps)], cwd=tmp_path, check=True, capture_output=True)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(tmp_path / "ca.pem")
    for context, name in ((server, "server"), (client, "client")):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname="broker1"), server.wrap_bio(there, back, server_side=True)]
    for end in ends * 2:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert (ends[1].getpeercert() or {})["subject"] == ((("commonName", "me"),),)


def typed(document: str, heading: str) -> list[str]:
    """The commands that a chapter of a document lets people type, in their order."""
    chapter = (ROOT / document).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^(?:    |\$ )(\S.*)$", chapter, re.MULTILINE)


@pytest.mark.engine
def test_the_way_to_a_plot_on_slurm(slurm: SlurmCluster) -> None:
    """It is typed as it stands, but with fewer items, and in a project of its own."""
    fewer = {"i <= 1000": "i <= 30", "7.77": "0.17", "778": "18"}
    clone, *commands = typed("docs/slurm.md", "From git clone to a plot")
    assert clone.startswith("git clone")
    assert len(commands) > 10
    for name, word in (("mc.r", "#!"), ("plot.r", "png")):
        slurm(f"cat >{slurm.checkout}/{name}", stdin=shown("docs/slurm.md", "r", word))
    here = f"cd {slurm.checkout} && export INVOKE_PROJECT=docs && {commands.pop(0)}\n"
    try:
        codes = {}
        for command in [*commands, "srun Rscript plot.r"]:
            for old, new in fewer.items():
                command = command.replace(old, new)
            codes[command] = slurm.run(here + command, timeout_s=180).returncode
        first_map = next(command for command in codes if " map " in command)
        assert {command: code for command, code in codes.items() if code} == {first_map: 2}
        rows = slurm(f"cut -d, -f 5- {slurm.checkout}/results.csv").splitlines()
        assert sorted(row.partition(",")[0] for row in rows[1:]) == ["0"] * 30
        assert slurm(f"head -c 4 {slurm.checkout}/plot.png | tail -c 3") == "PNG"
        assert slurm("squeue -h -o %j | grep ^docs/; true") == ""
    finally:
        left = ".run/slurm/docs mc.r params.csv results.csv* plot.* .secrets/docs*"
        slurm(f"scancel --name=docs/amqp,docs/worker-myqueue; cd {slurm.checkout} && rm -rf {left}")

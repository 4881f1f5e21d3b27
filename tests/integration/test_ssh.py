"""Hosts over SSH: real sshds, with and without a jump host in between, and what goes wrong on the way."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from cluster.hosts.all_hosts import on_all_hosts
from cluster.hosts.channels import socket_of
from cluster.hosts.host import Host
from cluster.hosts.remote import Remote
from cluster.hosts.ssh import connected
from cluster.settings import Settings
from scripts.errors import ClusterError, ServiceAway
from tests.conftest import own_settings
from tests.hosts.access import Key, known_hosts, write_private
from tests.hosts.cluster import Hosts
from tests.hosts.host import TestHost
from tests.refusing import refusal as refused
from tests.standin import wire
from tests.waiting import until

pytestmark = pytest.mark.engine

USERS = """
for name in plain admin; do
    useradd --create-home --shell /bin/bash --password '*' $name
    install -d -m 700 -o $name /home/$name/.ssh
    install -m 600 -o $name /root/.ssh/authorized_keys /home/$name/.ssh/
done
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
"""


@pytest.fixture(scope="module")
def settings(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assert hosts.agent
    assert hosts.jump
    return hosts.settings(own_settings(tmp_path_factory.mktemp("ssh")), timeout_s=20)


@pytest.fixture(scope="module")
def users(hosts: Hosts) -> None:
    """Two more users of the first agent host: plain, who may nothing, and admin, who may sudo, but not use Docker."""
    hosts.agent.run(USERS)


@pytest.fixture(scope="module")
def usual(hosts: Hosts) -> int:
    """A port of the first agent and of the jump host where sshd has its usual limits, which are low."""
    for host in (hosts.agent, hosts.jump):
        host.run("/usr/sbin/sshd -p 2224 -o PidFile=none -o MaxStartups=10:30:100 -o MaxSessions=10")
        listens(host, 2224)
    return 2224


def listens(host: TestHost, port: int) -> None:
    """Wait until a server does: sshd goes into the background before."""

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host.ip, port)) == 0

    until(answers, f"{host.name} listens on {port}")


@pytest.fixture
def root(hosts: Hosts, settings: Settings) -> Iterator[Remote]:
    with connected(settings, Host("agent1")) as remote:
        yield remote


@pytest.fixture
def ops(hosts: Hosts, settings: Settings) -> Iterator[Remote]:
    with connected(settings, Host("agent1", "ops")) as remote:
        yield remote


def refusal(settings: Settings, host: str) -> str:
    with pytest.raises(ClusterError) as caught, connected(settings, Host.parse(host)):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def impatient(settings: Settings, timeout_s: float) -> Settings:
    return replace(settings, agents=replace(settings.agents, timeout_s=timeout_s))


def configured(settings: Settings, hosts: Hosts, folder: Path, first: str = "", **files: Path | None) -> Settings:
    """Settings whose ssh configuration begins with `first`; with another identity or other known_hosts."""
    config = hosts.write_ssh_config(folder / "config", **files)
    config.write_text(f"{first}\n\n{config.read_text()}")
    return replace(settings, agents=replace(settings.agents, ssh_config=str(config)))


def known_by(settings: Settings, hosts: Hosts, folder: Path, lines: str) -> Settings:
    """Settings with these known_hosts."""
    (folder / "known_hosts").write_text(lines)
    return configured(settings, hosts, folder, known_hosts=folder / "known_hosts")


def greets(words: bytes) -> wire.Conduct:
    """Says this to everyone and then hangs up."""
    return lambda connection, over: connection.sendall(words)


# Commands


def test_a_command_has_stdin_both_outputs_and_its_exit_code(root: Remote) -> None:
    ran = root.run("cat; echo wrong >&2; exit 3", input=b"in\0put\n")
    assert (ran.code, ran.out, ran.err, ran.reason) == (3, b"in\0put\n", b"wrong\n", "wrong")


def test_much_input_and_output_at_once_does_not_block(root: Remote) -> None:
    data = bytes(8_000_000)
    ran = root.run("tee /dev/stderr", input=data, timeout_s=30)
    assert (len(ran.out), len(ran.err)) == (len(data), len(data))


def test_lines_are_shown_as_they_come(root: Remote) -> None:
    shown: list[tuple[bytes, bool, bool]] = []
    ended = threading.Event()
    ran = root.run(
        "echo a; echo b >&2; sleep 0.5; printf c", on_line=lambda *what: shown.append((*what, ended.is_set()))
    )
    assert sorted(shown[:2]) == [(b"a", False, False), (b"b", True, False)]
    assert (shown[2:], ran.out) == ([(b"c", False, False)], b"a\nc")


def test_input_that_is_not_read_is_no_failure(root: Remote) -> None:
    assert root.run("true", input=bytes(5_000_000)).code == 0


def test_a_command_that_a_signal_ended(root: Remote) -> None:
    ran = root.run("kill -9 $$")
    assert (ran.code, ran.reason) == (-1, "a signal ended it")


def test_a_command_that_takes_too_long_is_given_up_and_the_next_one_works(root: Remote) -> None:
    with pytest.raises(ClusterError, match=r"^agent1: .* 2 s"):
        root.run("sleep 60", timeout_s=2)
    assert root.run("true").code == 0


def test_a_step_that_fails_says_what_was_being_done(root: Remote) -> None:
    assert root.step("ask", "echo yes") == b"yes\n"
    with pytest.raises(ClusterError, match=r"^agent1: move the file: mv: .*'nothing'"):
        root.step("move the file", "LC_ALL=C mv nothing /")


def test_commands_go_to_sh_whatever_the_login_shell_is(hosts: Hosts, settings: Settings, users: None) -> None:
    """A login shell that only starts programs: it understands no more than quotes."""
    hosts.agent.run("""printf '#!/bin/sh\\nshift; eval "set -- $1"; exec "$@"\\n' >/bin/odd; chmod 755 /bin/odd""")
    hosts.agent.run("chsh -s /bin/odd plain")
    with connected(settings, Host("agent1", "plain")) as remote:
        ran = remote.run("""for word in 'a b' "it's" '\\'; do echo "$word"; done; id -un""")
    assert ran.out == b"a b\nit's\n\\\nplain\n"


# Root


def test_sudo_runs_as_root_for_those_who_may(root: Remote, ops: Remote) -> None:
    assert ops.run("id -u; echo $HOME", sudo=True).out == b"0\n/root\n"
    assert ops.run("id -un").out == b"ops\n"
    assert (ops.is_root, root.is_root, ops.sudo_refusal) == (False, True, "")


def test_who_may_not_is_told_so_and_never_asked_for_a_password(settings: Settings, users: None) -> None:
    with connected(settings, Host("agent1", "plain")) as remote:
        with pytest.raises(ClusterError, match=r"^plain@agent1: sudo .*NOPASSWD"):
            remote.run("id", sudo=True)
        with pytest.raises(ClusterError, match=r"^plain@agent1: sudo"):
            remote.write("/etc/cluster/x", b"", mode=0o600, sudo=True)


# Files


def test_a_file_is_written_once_and_left_alone_then(ops: Remote, hosts: Hosts) -> None:
    path = "/etc/cluster/of tests/it's"
    assert ops.read(path, sudo=True) is None
    assert ops.write(path, b"one\0\n", mode=0o600, owner="901:901", sudo=True)
    before = hosts.agent.run("""stat -c '%a %u:%g %i' "/etc/cluster/of tests/it's" """)
    assert before.startswith("600 901:901 ")
    assert not ops.write(path, b"one\0\n", mode=0o600, owner="901:901", sudo=True)
    assert hosts.agent.run("""stat -c '%a %u:%g %i' "/etc/cluster/of tests/it's" """) == before
    assert ops.read(path, sudo=True) == b"one\0\n"
    assert ops.write(path, b"one\0\n", mode=0o644, owner="901:901", sudo=True)
    assert ops.write(path, b"two", mode=0o644, sudo=True)
    assert hosts.agent.run("cd '/etc/cluster/of tests'; ls -A; cat *; stat -c '%a %u' *") == "it's\ntwo644 0\n"


def test_a_file_of_the_users_own_is_theirs(ops: Remote, hosts: Hosts) -> None:
    assert ops.write("/home/ops/.docker/config.json", b"{}", mode=0o600)
    assert hosts.agent.run("stat -c '%U %a' /home/ops/.docker /home/ops/.docker/config.json") == "ops 755\nops 600\n"
    assert ops.read("/home/ops/.docker/config.json") == b"{}"


def test_what_a_link_points_to_is_written(root: Remote, hosts: Hosts) -> None:
    hosts.agent.run("mkdir -p /srv/real; ln -sf /srv/real/file /srv/link")
    assert root.write("/srv/link", b"x", mode=0o600)
    assert hosts.agent.run("readlink /srv/link; cat /srv/real/file") == "/srv/real/file\nx"


def test_a_full_disk_is_named_and_leaves_the_old_file(root: Remote, hosts: Hosts) -> None:
    root.write("/srv/full/../file", b"old", mode=0o600)
    with hosts.agent.full("/srv/full"):
        with pytest.raises(ClusterError, match=r"^agent1: write /srv/full/file: .*full"):
            root.write("/srv/full/file", bytes(100_000), mode=0o600)
        assert hosts.agent.run("ls -A /srv/full") == "full\n"


def test_a_file_that_may_not_be_written_is_named(root: Remote) -> None:
    with pytest.raises(ClusterError, match=r"^agent1: write /proc/none/x: "):
        root.write("/proc/none/x", b"", mode=0o600)


def test_a_file_that_does_not_arrive_whole_leaves_the_old_one(root: Remote, hosts: Hosts) -> None:
    root.write("/srv/cut/file", b"old", mode=0o600)

    cut = "touch /tmp/armed; until pkill -STOP -x cat; do :; done; pkill -KILL sshd-session; pkill -CONT -x cat"
    cutting = threading.Thread(target=hosts.agent.run, args=(cut,))
    cutting.start()
    until(lambda: root.run("rm /tmp/armed").code == 0, "the write will be cut")
    with pytest.raises(ServiceAway, match=r"^agent1: "):
        root.write("/srv/cut/file", bytes(200_000_000), mode=0o600)
    cutting.join()
    hosts.agent.run("while ls -A /srv/cut | grep -q cluster; do :; done")
    assert hosts.agent.run("cat /srv/cut/file") == "old"


# The engine of a host


@pytest.mark.parametrize("user", ["", "ops", "admin"])
def test_the_engine_of_a_host_is_used_through_ssh(
    hosts: Hosts, settings: Settings, users: None, usual: int, user: str
) -> None:
    with connected(settings, Host("agent1", user, usual)) as remote:
        engine = remote.engine()
        assert engine.info()["Name"] == hosts.agent.run("hostname").strip()
        volume = engine.volumes.create(f"of-{user or 'root'}")
        for _ in range(12):  # more than the sessions that sshd allows a connection
            volume.reload()
            assert remote.run("true").code == 0
        volume.remove()
        assert remote.engine() is engine


def test_a_stream_of_the_engine_is_read_as_it_comes_and_ended(root: Remote) -> None:
    engine = root.engine()
    events = engine.events(decode=True, filters={"type": "volume"})
    volume = engine.volumes.create("streamed")
    assert next(events)["Actor"]["ID"] == "streamed"
    ended: list[object] = []
    reading = threading.Thread(target=lambda: ended.extend(events))
    reading.start()
    events.close()
    reading.join(60)
    assert not reading.is_alive()
    volume.remove()


def test_an_answer_is_read_to_its_end_when_its_connection_is_closed_already(root: Remote) -> None:
    channel = root._transport.open_session()
    channel.exec_command("sleep 0.2; echo late")
    sock = socket_of(channel)
    with sock.makefile("rb") as file:
        sock.close()
        assert file.read() == b"late\n"
    until(lambda: channel.closed, "the channel is closed")


def test_who_may_not_use_the_engine_is_told_what_to_do(settings: Settings, users: None) -> None:
    with connected(settings, Host("agent1", "plain")) as remote:
        assert "usermod -aG docker" in refused(remote.engine)


def test_a_host_without_docker_is_named(settings: Settings) -> None:
    with connected(settings, Host("jump")) as remote:
        remote.run("mv /usr/bin/docker /usr/bin/docker.away")
        assert "jump: there is no docker command" in refused(remote.engine)
        remote.run("mv /usr/bin/docker.away /usr/bin/docker")
        assert "systemctl start docker" in refused(remote.engine)


# Host keys


def test_an_unknown_key_is_refused_and_told_how_to_take(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    nothing = known_by(settings, hosts, tmp_path, "")
    words = refusal(nothing, "agent1")
    assert words.startswith("agent1: its host key ")
    assert f"ssh-keyscan -t ed25519 {hosts.agent.ip} >> {tmp_path}/known_hosts" in words
    taken = f"{hosts.agent.ip} {hosts.agent.key.public}\n"
    with connected(known_by(settings, hosts, tmp_path, taken), Host("agent1")) as remote:
        assert remote.run("true").code == 0


def test_a_changed_key_is_refused(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    lines = "# a comment\n" + known_hosts([("agent1", hosts.agent.ip, Key())])
    words = refusal(known_by(settings, hosts, tmp_path, lines), "agent1")
    assert f"{tmp_path}/known_hosts line 2 " in words
    assert f"ssh-keygen -R '{hosts.agent.ip}' -f {tmp_path}/known_hosts" in words


def test_a_revoked_key_is_refused(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    line = f"{hosts.agent.ip} {hosts.agent.key.public}\n"
    revoked = known_by(settings, hosts, tmp_path, f"{line}@revoked * {hosts.agent.key.public}")
    assert "known_hosts line 2" in refusal(revoked, "agent1")


def test_the_key_of_a_jump_host_is_checked_too(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    inner = f"{hosts.agent.ip} {hosts.agent.key.public}\n"
    words = refusal(known_by(settings, hosts, tmp_path, inner), "inner-1")
    assert words.startswith("inner-1: the jump host jump: its host key ")


def test_the_key_behind_a_jump_host_is_checked_too(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    jump = f"{hosts.jump.ip} {hosts.jump.key.public}\n"
    words = refusal(known_by(settings, hosts, tmp_path, jump), "inner-1")
    assert words.startswith("inner-1: its host key ")
    assert "ssh inner-1" in words


# Logging in


def test_a_wrong_key_is_told_and_where_it_lies(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    wrong = write_private(tmp_path / "wrong", Key())
    words = refusal(configured(settings, hosts, tmp_path, identity=wrong), "ops@agent1")
    assert f"{wrong}: ssh-copy-id ops@agent1" in words


def test_a_key_that_is_not_there_is_told(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    assert "IdentityFile" in refusal(configured(settings, hosts, tmp_path, identity=tmp_path / "none"), "agent1")


def test_a_passphrase_is_never_asked_for(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    encryption = BestAvailableEncryption(b"secret")
    locked.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption))
    assert f"agent1: the key {locked} " in refusal(configured(settings, hosts, tmp_path, identity=locked), "agent1")


@pytest.mark.program("ssh-agent")
@pytest.mark.parametrize("agent_of", ["", "IdentityAgent {socket}"], ids=["environment", "configuration"])
def test_a_locked_key_that_the_ssh_agent_has(
    hosts: Hosts, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_of: str
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "locked"], check=True)
    locked = configured(settings, hosts, tmp_path, identity=tmp_path / "locked")
    config = Path(locked.agents.ssh_config)
    config.write_text(config.read_text().replace("IdentitiesOnly yes", agent_of.format(socket=tmp_path / "agent")))
    with ssh_agent(tmp_path / "agent"):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        assert refusal(locked, "agent1").endswith(f"and no ssh-agent has it: ssh-add {tmp_path}/locked")
        subprocess.run(["ssh-add", "-q", hosts.identity], check=True)
        if agent_of:
            monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
        with connected(locked, Host("agent1")) as remote:
            assert remote.run("true").code == 0


@contextmanager
def ssh_agent(path: Path, *keys: Path) -> Iterator[None]:
    """An agent that has these keys."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        until(path.exists, "the agent listens")
        for key in keys:
            subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(path)})
        yield
    finally:
        agent.terminate()
        agent.wait()


# What ssh itself takes: it is asked each time


def as_ssh(settings: Settings, hosts: Hosts, folder: Path, said: str, identity: Path | None = None) -> Settings:
    """Settings with this said of agent1 before all else, by which ssh gets there without a question."""
    there = configured(settings, hosts, folder, f"Host agent1\n{said}", identity=identity)
    command = ["ssh", "-F", there.agents.ssh_config, "-o", "BatchMode=yes", "agent1", "true"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return there


def made(folder: Path, *options: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *options], cwd=folder, check=True, capture_output=True)


def gets_in(settings: Settings) -> bool:
    with connected(settings, Host("agent1")) as remote:
        return remote.run("true").code == 0


@pytest.mark.program("ssh-agent")
@pytest.mark.parametrize("kept", ["locked", "half"])
def test_a_named_key_of_the_agent_with_identities_only(
    hosts: Hosts, settings: Settings, tmp_path: Path, kept: str
) -> None:
    """Its file is locked, or only the public half is here; the agent has more keys than sshd lets anybody try."""
    hosts.agent.run("/usr/sbin/sshd -p 2226 -o PidFile=none -o MaxAuthTries=2")
    listens(hosts.agent, 2226)
    key = tmp_path / "key"
    key.write_bytes(hosts.identity.read_bytes())
    key.chmod(0o600)
    others = [write_private(tmp_path / f"other{number}", Key()) for number in range(3)]
    said = f"Port 2226\nIdentityAgent {tmp_path}/agent\nUserKnownHostsFile ${{KNOWN}}/%k\nHostKeyAlias known_hosts"
    with ssh_agent(tmp_path / "agent", *others, key), pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWN", str(tmp_path))
        (tmp_path / "known_hosts").write_text(f"known_hosts {hosts.agent.key.public}\n")
        if kept == "locked":
            made(tmp_path, "-p", "-N", "secret", "-f", key)
        else:
            (tmp_path / "key.pub").write_bytes(subprocess.check_output(["ssh-keygen", "-y", "-f", key]))
            key.unlink()
        assert gets_in(as_ssh(settings, hosts, tmp_path, said, identity=key))
    words = refusal(configured(settings, hosts, tmp_path, identity=key), "agent1")
    assert f"{key} needs a passphrase" in words or f"{key} has only its public half here" in words


def test_a_certificate_of_the_user(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    write_private(tmp_path / "new", Key())
    made(tmp_path, "-t", "rsa", "-N", "", "-f", "ca")
    (tmp_path / "new.pub").write_bytes(subprocess.check_output(["ssh-keygen", "-y", "-f", tmp_path / "new"]))
    made(tmp_path, "-s", "ca", "-I", "of-tests", "-n", "root", "new.pub")
    (tmp_path / "new-cert.pub").rename(tmp_path / "certificate-of-root")
    hosts.agent.run(f"echo '{(tmp_path / 'ca.pub').read_text().strip()}' >/etc/ssh/users-ca")
    hosts.agent.run("/usr/sbin/sshd -p 2227 -o PidFile=none -o TrustedUserCAKeys=/etc/ssh/users-ca")
    listens(hosts.agent, 2227)
    said = f"Port 2227\nCertificateFile {tmp_path}/certificate-of-%r"
    assert gets_in(as_ssh(settings, hosts, tmp_path, said, identity=tmp_path / "new"))
    with ssh_agent(tmp_path / "agent", tmp_path / "new"):
        (tmp_path / "new").unlink()  # only the agent has it now
        in_agent = f"{said}\nIdentityAgent {tmp_path}/agent"
        assert gets_in(as_ssh(settings, hosts, tmp_path, in_agent, identity=tmp_path / "new"))


@pytest.fixture(scope="module")
def certified(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a CA that has signed the first agent's host key, which sshd shows at port 2228."""
    folder = tmp_path_factory.mktemp("ca")
    (folder / "host.pub").write_text(f"{hosts.agent.key.public}\n")
    made(folder, "-t", "ed25519", "-N", "", "-f", "ca")
    made(folder, "-s", "ca", "-h", "-I", "of-tests", "-n", f"other,{hosts.agent.ip}", "host.pub")
    hosts.agent.run(f"echo '{(folder / 'host-cert.pub').read_text().strip()}' >/etc/ssh/host-cert.pub")
    hosts.agent.run("/usr/sbin/sshd -p 2228 -o PidFile=none -o HostCertificate=/etc/ssh/host-cert.pub")
    listens(hosts.agent, 2228)
    return folder


def test_a_certificate_of_the_host(hosts: Hosts, settings: Settings, tmp_path: Path, certified: Path) -> None:
    ca = (certified / "ca.pub").read_text()
    known = tmp_path / "known"
    known.write_text(f"@cert-authority 10.*,172.*,192.* {ca}")
    there = as_ssh(settings, hosts, tmp_path, f"Port 2228\nUserKnownHostsFile {known}")
    assert gets_in(there)
    known.write_text(f"@cert-authority * {ca}@revoked * {ca}")
    assert "is marked as revoked" in refusal(there, "agent1")
    known.write_text(f"@cert-authority * {Key().public}\n")
    assert "its host certificate is of another CA" in refusal(there, "agent1")
    known.write_text(f"@cert-authority wrong {ca}")
    config = Path(there.agents.ssh_config)
    config.write_text(f"Host agent1\n  HostKeyAlias wrong\n{config.read_text()}")
    assert "its host certificate is for another name: other, " in refusal(there, "agent1")


def test_a_command_that_knows_the_hosts(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    command = tmp_path / "known"
    command.write_text(f'#!/bin/sh\ntest $# = 5 && test "$3" = root && echo $1 {hosts.agent.key.public}\n')
    command.chmod(0o755)
    said = f"UserKnownHostsFile none\nKnownHostsCommand {command} %H %I %r %K %f"
    there = as_ssh(settings, hosts, tmp_path, said)
    assert gets_in(there)
    command.write_text("#!/bin/sh\necho not today >&2; exit 1\n")
    assert refusal(there, "agent1").endswith(f"KnownHostsCommand of the ssh configuration failed: {command}: not today")


def test_a_second_factor_is_never_asked_for(hosts: Hosts, settings: Settings) -> None:
    hosts.agent.run(
        "/usr/sbin/sshd -p 2223 -o PidFile=none -o PasswordAuthentication=yes "
        "-o AuthenticationMethods=publickey,password"
    )
    listens(hosts.agent, 2223)
    assert "agent1:2223: the key is not enough" in refusal(settings, "agent1:2223")


def test_a_login_shell_that_talks_is_named(hosts: Hosts, settings: Settings, users: None) -> None:
    hosts.agent.run("chsh -s /bin/bash plain; echo 'echo Welcome' >/home/plain/.bashrc")
    with connected(settings, Host("agent1", "plain")) as remote, pytest.raises(ClusterError, match="'Welcome"):
        assert not remote.is_root
    hosts.agent.run("rm /home/plain/.bashrc")


def test_a_user_who_is_not_there_is_not_let_in(settings: Settings) -> None:
    assert refusal(settings, "nobody-here@agent1").startswith("nobody-here@agent1: nobody-here is not let in with ")


# Hosts that are not there


def test_nothing_listens(hosts: Hosts, settings: Settings) -> None:
    assert f"agent1:2222: connection refused at {hosts.agent.ip} port 2222" in refusal(settings, "agent1:2222")


def test_a_name_that_nobody_knows(settings: Settings) -> None:
    assert refusal(settings, "no-such-host.invalid").startswith("no-such-host.invalid: no address ")


def test_something_else_listens(settings: Settings) -> None:
    with wire.serving(greets(b"220 mail.example ESMTP\r\n")) as place:
        assert f"{place}: " in refusal(settings, place)


def test_something_listens_and_hangs_up(settings: Settings) -> None:
    with wire.serving(greets(b"")) as place:
        assert f"{place}: " in refusal(settings, place)


def test_something_listens_and_says_nothing(settings: Settings) -> None:
    with wire.serving(wire.silence) as place:
        words = refusal(impatient(settings, 0.5), place)
    assert f"{place}: " in words
    assert "0.5 s" in words


def test_a_host_that_hangs(hosts: Hosts, settings: Settings) -> None:
    with hosts.agent.paused():
        assert "did not answer within 0.5 s" in refusal(impatient(settings, 0.5), "agent1")


# Hosts that go away


def test_a_host_that_falls_silent_in_the_middle_is_given_up(hosts: Hosts, settings: Settings) -> None:
    with connected(impatient(settings, 5), Host("agent1")) as remote:
        assert remote.run("true").code == 0
        with hosts.agent.paused(), pytest.raises(ServiceAway, match=r"^agent1: "):
            remote.run("true")


def test_a_host_that_is_silent_for_a_moment_is_not_given_up(hosts: Hosts, settings: Settings) -> None:
    with connected(settings, Host("agent1")) as remote:
        answers: list[int] = []
        with hosts.agent.paused():
            waiting = threading.Thread(target=lambda: answers.append(remote.run("true").code))
            waiting.start()
            waiting.join(1.5)
            assert answers == []
        waiting.join(60)
    assert answers == [0]


def test_a_session_that_ends_in_the_middle_is_told(root: Remote, hosts: Hosts) -> None:
    def cut(line: bytes, is_error: bool) -> None:
        hosts.agent.run("pkill -KILL sshd-session")

    with pytest.raises(ServiceAway, match=r"^agent1: "):
        root.run("echo ready; sleep 20", on_line=cut)


# Jump hosts


def test_a_host_behind_a_jump_host(hosts: Hosts, settings: Settings) -> None:
    with connected(settings, Host("inner-1")) as remote:
        assert remote.run("hostname; echo $SSH_CLIENT").out.split()[:2] == [
            hosts.agent.run("hostname").strip().encode(), hosts.jump.ip.encode()
        ]  # fmt: skip
        assert (remote.name, remote.address) == ("inner-1", hosts.agent.ip)
        assert remote.engine().ping()


def test_two_jump_hosts_are_passed_in_the_order_they_are_written(
    hosts: Hosts, settings: Settings, tmp_path: Path
) -> None:
    agent, jump, registry = hosts.agent, hosts.jump, hosts.registry
    first = f"Host far\n  HostName {agent.ip}\n  ProxyJump {jump.ip},root@{registry.ip}:22"
    there = configured(settings, hosts, tmp_path, first)
    with connected(there, Host("far")) as remote:
        assert remote.run("echo $SSH_CLIENT").out.split()[0] == registry.ip.encode()


def test_a_host_that_the_jump_host_does_not_reach(settings: Settings) -> None:
    assert "inner-1:2222: the jump host jump " in refusal(settings, "inner-1:2222")


def test_a_jump_host_that_is_away(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    there = configured(settings, hosts, tmp_path, "Host jump\n  Port 2222")
    assert "inner-1: the jump host jump: connection refused" in refusal(there, "inner-1")


def test_many_hosts_behind_one_jump_host(hosts: Hosts, settings: Settings, tmp_path: Path, usual: int) -> None:
    first = f"Host many*\n  HostName {hosts.agent.ip}\n  ProxyJump jump:{usual}"
    there = configured(settings, hosts, tmp_path, first)
    many = [Host(f"many{number}") for number in range(24)]
    outcomes = on_all_hosts(
        there, many, lambda remote, show: remote.run("true").code, doing="x", timeout_s=60, say=print
    )
    assert [str(outcome.error) for outcome in outcomes if outcome.value != 0] == []


def test_a_proxy_command(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    proxy = "python3 -c 'import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
    proxy += 'threading.Thread(target=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b"")],daemon=True)'
    proxy += '.start();[os.write(1,d) for d in iter(lambda:s.recv(65536),b"")]\' %h %p'
    first = f"Host proxied\n  HostName {hosts.agent.ip}\n  ProxyCommand {proxy}"
    there = configured(settings, hosts, tmp_path, first)
    with connected(there, Host("proxied")) as remote:
        assert remote.run("echo through").out == b"through\n"


def test_a_proxy_command_that_fails(hosts: Hosts, settings: Settings, tmp_path: Path) -> None:
    there = configured(settings, hosts, tmp_path, "Host proxied\n  ProxyCommand false")
    assert "proxied: the ProxyCommand " in refusal(there, "proxied")


def test_nothing_is_left_open(settings: Settings) -> None:
    before = threading.active_count()
    for _ in range(3):
        with connected(settings, Host("agent1")) as remote:
            remote.engine().ping()
    until(lambda: threading.active_count() <= before, "its threads have ended")

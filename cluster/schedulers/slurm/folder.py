"""The folder that all nodes see: what apps are wanted, their code, files, secrets and notes."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from cluster.apps.app import AppSpec
from cluster.credentials import SecretFile
from cluster.hosts.shell import Shell
from cluster.schedulers.instances import data_name
from cluster.schedulers.slurm import code
from cluster.schedulers.slurm.script import Place, slug_of
from scripts.errors import ClusterError

LAST = "last.json"  # what was wanted when the app was stopped

_LOCKED_S = 3600  # a lock that is older is of somebody who cannot be asked


@dataclass(frozen=True)
class Folder:
    """The folder of a project, by its whole path on the cluster."""

    shell: Shell
    project: str
    path: str

    def place(self, app: AppSpec, digest: str) -> Place:
        """Return the places of an app that runs the code with this digest."""
        slug = slug_of(app.id)
        return Place(self.project, slug, self.of_app(app.id), f"{self.path}/code/{digest}", f"{self.path}/logs/{slug}")

    def of_app(self, app_id: str) -> str:
        """Return the folder of an app."""
        return f"{self.path}/apps/{slug_of(app_id)}"

    def secret(self, file: SecretFile) -> str:
        """Return the place of a secret file."""
        return f"{self.path}/secrets/{file.group}/{file.name}"

    def data(self, app: AppSpec) -> dict[str, str]:
        """Return the folders of the app's data, by their names."""
        names = [name for volume in app.volumes if (name := data_name(volume.host_path))]
        return {name: f"{self.path}/data/{name}" for name in names}

    def send(self, app: AppSpec, place: Place, files: Mapping[str, bytes]) -> None:
        """Bring what jobs of an app need: its code, `files` by their places, its secrets, folders for its data."""
        doing = f"write to {self.path}"
        folders = [self.path, place.folder, f"{place.folder}/jobs", f"{place.folder}/versions", place.logs]
        data = self.data(app)
        folders += data.values()
        make = f"umask 077; mkdir -p {shlex.join(folders)} && chmod 700 {shlex.quote(self.path)}"
        for name in data:
            make += f" && printf %s {shlex.quote(app.id)} >{shlex.quote(f'{self.path}/data/{name}.app')}"
        has_code = self.shell.step(doing, f"{make} && if [ -d {shlex.quote(place.code)} ]; then echo yes; fi")
        if not has_code.strip():
            self._unpack(doing, place.code)
        for path, content in files.items():
            self.shell.write(path, content, mode=0o700)
        for file in app.secret_files:
            if file.content:
                self.shell.write(self.secret(file), file.content, mode=0o600)

    def _unpack(self, doing: str, folder: str) -> None:
        """Unpack the code beside its place, and put it there at once."""
        new = shlex.quote(f"{folder}.{os.getpid()}.new")
        ran = self.shell.run(
            f"umask 077; rm -rf {new}; mkdir -p {new} && tar -xf - -C {new} && mv -T {new} {shlex.quote(folder)}",
            input=code.archive()[1],
        )
        if ran.code:
            raise ClusterError(f"{doing}: {ran.reason}")

    def write(self, place: Place, app: AppSpec, version: int, script: str) -> None:
        """Write down what is wanted from now on."""
        content = json.dumps({"app": app.as_json(), "version": version}).encode() + b"\n"
        self.shell.write(f"{place.folder}/versions/{version}.json", content, mode=0o600)
        self.shell.write(f"{place.folder}/job.sh", script.encode(), mode=0o600)
        self.shell.write(f"{place.folder}/app.json", content, mode=0o600)

    def forget_notes(self, app_id: str, kept: Iterable[str]) -> None:
        """Remove the notes of jobs, except of those with these ids."""
        names = "\n".join(["", *kept])
        self.shell.step(
            f"forget the jobs of {app_id}",
            f"cd {shlex.quote(f'{self.of_app(app_id)}/jobs')} 2>/dev/null || exit 0; "
            f"ls | grep -vxF {shlex.quote(names.strip() or ' ')} | xargs -r rm -f --",
        )

    def versions(self, app_id: str) -> Iterator[tuple[int, AppSpec]]:
        """Yield the versions of an app, newest first."""
        folder = shlex.quote(f"{self.of_app(app_id)}/versions")
        # A file name before each line also where there is one file.
        text = self.shell.step(
            f"read the versions of {app_id}", f"cd {folder} 2>/dev/null && grep -s '' *.json /dev/null; true"
        )
        found = [line.partition(".json:")[::2] for line in text.decode().splitlines()]
        for number, content in sorted(((int(number), content) for number, content in found), reverse=True):
            yield number, AppSpec.from_json(json.loads(content)["app"])

    def forget(self, app_id: str) -> None:
        """Want an app no longer; its versions and logs stay, and the number of the last version."""
        self.shell.step(
            f"forget {app_id}",
            f"cd {shlex.quote(self.of_app(app_id))} && {{ mv -f app.json {LAST} 2>/dev/null; "
            "rm -rf job.sh jobs address ports here; }",
        )

    def delete_data(self, app_id: str) -> list[str]:
        """Delete the data of an app, or with an empty id of all; return the folders."""
        folder = shlex.quote(f"{self.path}/data")
        owners = self.shell.step(
            "look for data", f"cd {folder} 2>/dev/null && for each in *.app; do [ -e \"$each\" ] && "
            "printf '%s:' \"$each\" && cat \"$each\" && echo; done; true",
        )  # fmt: skip
        of_all = dict(line.split(".app:", 1) for line in owners.decode().splitlines() if ".app:" in line)
        found = [f"{self.path}/data/{name}" for name, owner in of_all.items() if app_id in ("", owner)]
        if found:
            words = shlex.join([*found, *(f"{path}.app" for path in found)])
            self.shell.step(f"delete the data of {app_id or 'all apps'}", f"rm -rf -- {words}")
        return sorted(found)

    @contextmanager
    def locked(self, app_id: str) -> Iterator[None]:
        """Let nobody else change an app meanwhile, from whatever machine.

        Raises:
            ClusterError: somebody else does.
        """
        lock = f"{self.of_app(app_id)}.lock"
        holder = f"{getpass.getuser()}@{socket.gethostname()} {os.getpid()} {time.time():.0f}"
        quoted, apps = shlex.quote(lock), shlex.quote(f"{self.path}/apps")
        take = (
            f"umask 077; mkdir -p {apps} && if mkdir {quoted} 2>/dev/null; then printf %s {shlex.quote(holder)} "
            f">{quoted}/holder; else cat {quoted}/holder 2>/dev/null || echo unknown; fi"
        )
        drop = f"rm -rf -- {quoted}"
        found = self.shell.step(f"lock {app_id}", take).decode().strip()
        if found and _is_over(found):
            self.shell.step(f"lock {app_id}", drop)
            found = self.shell.step(f"lock {app_id}", take).decode().strip()
        if found:
            raise ClusterError(
                f"another deploy of {app_id} is under way, by {found.partition(' ')[0]}: wait for it, or run this again"
            )
        try:
            yield
        finally:
            with suppress(ClusterError):
                self.shell.step(f"unlock {app_id}", drop)


def _is_over(holder: str) -> bool:
    """Return True where the holder of a lock is a process of this machine that has ended, or took it long ago."""
    try:
        who, pid, since = holder.split()
        if time.time() - int(since) > _LOCKED_S:
            return True
        return who.partition("@")[2] == socket.gethostname() and not psutil.pid_exists(int(pid))
    except ValueError:
        return False

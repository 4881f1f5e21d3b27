"""Health checks of one task: COMMAND in its container, the others over its ports."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

import docker.errors
from requests import Timeout

from tests.standin.environment import port_items
from tests.standin.state import Task
from tests.standin.world import World

# Marathon probes these by itself and tells why it killed; the others are Mesos's.
_BY_MARATHON = ("HTTP", "HTTPS", "TCP")


@dataclass
class _Check:
    definition: dict[str, Any]
    due_s: float = float("inf")
    failures: int = 0
    succeeded: bool = False

    @property
    def by_marathon(self) -> bool:
        return self.definition["protocol"] in _BY_MARATHON

    def most_failures(self) -> float:
        """How many in a row are too many; 0 is never for Marathon, and the first for Mesos."""
        most = self.definition["maxConsecutiveFailures"]
        return most or (float("inf") if self.by_marathon else 1)


class Probes:
    """The checks of a running task, and when each is due (times on the clock of time.monotonic())."""

    def __init__(self, world: World, task: Task) -> None:
        self.world, self.task = world, task
        self._checks = [_Check(check) for check in task.definition.get("healthChecks", [])]
        self._began_s = 0.0

    def begin(self) -> None:
        self._began_s = time.monotonic()
        for check in self._checks:
            check.due_s = self._began_s + (0 if check.by_marathon else self._scaled(check, "delaySeconds"))

    def due_in_s(self) -> float:
        return min((check.due_s for check in self._checks), default=float("inf")) - time.monotonic()

    def probe(self) -> bool:
        """Run what is due; whether the task must be killed for it."""
        doomed = False
        for at, check in enumerate(self._checks):
            if check.due_s <= time.monotonic():
                cause = self._look(check.definition)
                doomed = self._judge(at, check, cause) or doomed
                check.due_s = time.monotonic() + max(0.05, self._scaled(check, "intervalSeconds"))
        return doomed

    def _scaled(self, check: _Check, key: str) -> float:
        return float(check.definition[key]) / self.world.time_scale

    def _judge(self, at: int, check: _Check, cause: str) -> bool:
        """Note a result (an empty cause is a success); failures in the grace period do not count."""
        in_grace = time.monotonic() - self._began_s < check.definition["gracePeriodSeconds"]
        ended = self.world.app_of(self.task) is None
        if ended or (cause and in_grace and not check.succeeded):
            return False
        check.succeeded = check.succeeded or not cause
        check.failures = check.failures + 1 if cause else 0
        self._write(at, check, cause)
        if check.failures < check.most_failures():
            return False
        if check.by_marathon:
            self._tell_kill(cause)
        return True

    def _write(self, at: int, check: _Check, cause: str) -> None:
        """The result as the task shows it."""
        with self.world.changed:
            results = self.task.results
            results.extend([None] * (at + 1 - len(results)))
            before = results[at] or {}
            new = self.world.health_result(self.task, not cause, cause if check.by_marathon else "")
            first = {"firstSuccess": before["firstSuccess"]} if "firstSuccess" in before else {}
            results[at] = before | new | {"consecutiveFailures": check.failures} | first
            if cause:
                self.world.events.say("failed_health_check_event", appId=self.task.app_id, instanceId=new["instanceId"])
            if before.get("alive") != new["alive"]:
                told = {"instanceId": new["instanceId"], "version": self.task.version, "alive": new["alive"]}
                self.world.events.say("health_status_changed_event", appId=self.task.app_id, **told)
            self.world.changed.notify_all()

    def _tell_kill(self, cause: str) -> None:
        """Only Marathon's own checks leave a failure behind (TaskFailure.scala)."""
        task = self.task
        said = f"Task was killed since health check failed. Reason: {cause}"
        with self.world.lock:
            app = self.world.apps.get(task.app_id)
            if app:
                failed = (task.id, task.host or "", task.version, "TASK_KILLED", said)
                app.last_failure = self.world.failure(task.app_id, *failed)
            self.world.events.say("unhealthy_instance_kill_event", appId=task.app_id, taskId=task.id, reason=cause)

    def _look(self, check: dict[str, Any]) -> str:
        """Why the check failed; empty: it did not."""
        if check["protocol"] == "COMMAND":
            return self._run(check)
        try:
            return self._connect(check)
        except (OSError, HTTPException) as error:
            return f"{type(error).__name__}: {error}"

    def _connect(self, check: dict[str, Any]) -> str:
        """TCP or HTTP, from here: Mesos would ask on the container's own loopback."""
        host, port = self._address(check)
        if check["protocol"].endswith("TCP"):
            socket.create_connection((host, port), timeout=check["timeoutSeconds"]).close()
            return ""
        with closing(_connection(check["protocol"], host, port, check["timeoutSeconds"])) as connection:
            connection.request("GET", check["path"])
            answer = connection.getresponse()
            return "" if 200 <= answer.status < 400 else f"{answer.status} {answer.reason}"

    def _address(self, check: dict[str, Any]) -> tuple[str, int]:
        task = self.task
        if "port" in check:
            return str(task.host), check["port"]
        if task.definition["networks"][0]["mode"] == "container":
            return str(task.ip), port_items(task.definition)[check["portIndex"]]["containerPort"]
        return str(task.host), task.ports[check["portIndex"]]

    def _run(self, check: dict[str, Any]) -> str:
        """`docker exec` of the command; ends early when the task has other things to do."""
        api = self.task.agent.client.api  # type: ignore[union-attr]
        until_s = time.monotonic() + check["timeoutSeconds"]
        try:
            one = api.exec_create(self.task.container, ["sh", "-c", check["command"]["value"]])["Id"]
            self._exec(api, one, check["timeoutSeconds"])
            while time.monotonic() < until_s and not self.task.killing and not self.world.over.is_set():
                found = api.exec_inspect(one)
                if not found["Running"] and found["ExitCode"] is not None:
                    return f"exited with status {found['ExitCode']}" if found["ExitCode"] else ""
                time.sleep(0.02)
        except docker.errors.APIError as error:
            return str(error.explanation)
        except Timeout:
            pass
        return "timed out"

    def _exec(self, api: Any, one: str, timeout_s: float) -> None:
        """Start it with a time limit: an engine may never answer when the container ends just then."""
        url = f"{api.base_url}/v{api.api_version}/exec/{one}/start"
        api.post(url, json={"Detach": True}, timeout=timeout_s)


def _connection(protocol: str, host: str, port: int, timeout_s: float) -> HTTPConnection:
    """For HTTPS any certificate will do, as for Marathon."""
    if not protocol.endswith("HTTPS"):
        return HTTPConnection(host, port, timeout=timeout_s)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=timeout_s, context=trusting)

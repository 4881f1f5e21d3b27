"""Which instance is picked out of Marathon's answers, and what is said when there is none."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.errors import ClusterError
from scripts.marathon.discovery import NoInstance, pick
from tests.refusing import refusal

OLD, NEW, LATER = "2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z", "2020-01-03T00:00:00.000Z"


def app(*tasks: Any, **fields: Any) -> dict[str, Any]:
    """An app on the host's network whose present version is NEW."""
    known = {
        "id": "/amqp",
        "instances": 1,
        "version": NEW,
        "versionInfo": {"lastScalingAt": NEW, "lastConfigChangeAt": NEW},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 5672, "name": "amqp"}, {"port": 15672, "name": "management"}],
        "tasks": list(tasks),
    }
    return known | fields


def task(**fields: Any) -> dict[str, Any]:
    known = {"id": "amqp.instance-1._app.1", "state": "TASK_RUNNING", "host": "agent1", "ports": [31000, 31001]}
    return known | {"version": NEW, "startedAt": NEW} | fields


def on_bridge(*mappings: dict[str, Any]) -> dict[str, Any]:
    return {"networks": [{"mode": "container/bridge"}], "container": {"portMappings": list(mappings)}}


def on_its_own_network(*mappings: dict[str, Any]) -> dict[str, Any]:
    return {"networks": [{"mode": "container", "name": "dcos"}], "container": {"portMappings": list(mappings)}}


def picked(answer: dict[str, Any], **wish: Any) -> str:
    return str(pick(answer, **wish))


def reason(answer: dict[str, Any]) -> str:
    return refusal(pick, answer, by=NoInstance)


def passing_by_no_time(answer: dict[str, Any], **wish: Any) -> str:
    """What is no matter of waiting."""
    with pytest.raises(ClusterError) as caught:
        pick(answer, **wish)
    assert not isinstance(caught.value, NoInstance)
    return str(caught.value)


def test_a_running_instance_is_taken_at_its_host_and_first_port() -> None:
    assert picked(app(task())) == "agent1:31000"


@pytest.mark.parametrize(
    "state", ["STAGING", "STARTING", "KILLING", "KILLED", "FINISHED", "FAILED", "ERROR", "UNREACHABLE", "UNKNOWN",
              "GONE", "DROPPED"],
)  # fmt: skip
def test_only_what_runs_is_taken(state: str) -> None:
    other = task(state=f"TASK_{state}", host="wrong")
    assert picked(app(other, task(), other)) == "agent1:31000"
    assert f"1 {state.lower()}" in reason(app(other))


@pytest.mark.parametrize("started", [{"startedAt": None}, {}], ids=["null", "missing"])
def test_a_task_that_has_no_start_does_not_run_yet(started: dict[str, Any]) -> None:
    waiting = {key: value for key, value in task().items() if key != "startedAt"} | started
    assert "no running instance" in reason(app(waiting))


class TestHealth:
    CHECKED = {"healthChecks": [{"protocol": "COMMAND"}]}  # noqa: RUF012

    @pytest.mark.parametrize("name", ["instanceId", "taskId"])
    def test_results_name_the_task_in_two_ways(self, name: str) -> None:
        well = task(healthCheckResults=[{"alive": True, name: "amqp.1"}])
        ill = task(healthCheckResults=[{"alive": False, name: "amqp.2"}], host="wrong")
        assert picked(app(ill, well, **self.CHECKED)) == "agent1:31000"

    @pytest.mark.parametrize("results", [[], None, [None], [{"alive": None}], [{}]], ids=str)
    def test_no_result_yet_is_not_healthy_yet(self, results: Any) -> None:
        assert "not healthy yet: 1 running" in reason(app(task(healthCheckResults=results), **self.CHECKED))

    def test_every_check_must_be_alive(self) -> None:
        results = [{"alive": True}, {"alive": False, "lastFailureCause": "exit code 7"}]
        assert "exit code 7" in reason(app(task(healthCheckResults=results), **self.CHECKED))

    def test_null_among_the_results_is_passed_over(self) -> None:
        assert picked(app(task(healthCheckResults=[None, {"alive": True}]), **self.CHECKED)) == "agent1:31000"

    @pytest.mark.parametrize("checks", [{}, {"healthChecks": []}, {"healthChecks": None}], ids=str)
    def test_without_checks_no_task_counts_as_healthy_and_running_is_enough(self, checks: dict[str, Any]) -> None:
        assert picked(app(task(), tasksHealthy=0, **checks)) == "agent1:31000"


class TestVersions:
    def test_while_an_app_is_replaced_the_current_version_is_taken(self) -> None:
        outdated = task(version=OLD, startedAt=OLD, host="outdated")
        assert picked(app(outdated, task(), outdated)) == "agent1:31000"

    def test_an_outdated_one_is_better_than_none(self) -> None:
        outdated = task(version=OLD, host="outdated")
        assert picked(app(outdated, task(state="TASK_STAGING"))) == "outdated:31000"

    def test_a_healthy_outdated_one_is_better_than_a_current_one_that_is_not(self) -> None:
        outdated = task(version=OLD, host="outdated", healthCheckResults=[{"alive": True}])
        answer = app(outdated, task(healthCheckResults=[{"alive": False}]), healthChecks=[{}])
        assert picked(answer) == "outdated:31000"

    def test_after_scaling_the_instances_of_before_are_current_too(self) -> None:
        """A scaled app has a new version, and its first instance keeps its own."""
        scaled = app(
            task(version=LATER, startedAt=LATER, host="second"),
            task(host="first"),
            version=LATER,
            versionInfo={"lastScalingAt": LATER, "lastConfigChangeAt": NEW},
        )
        assert picked(scaled) == "first:31000"

    @pytest.mark.parametrize("info", [{"versionInfo": None}, {"versionInfo": {}}], ids=str)
    def test_without_version_info_the_newest_version_is_taken(self, info: dict[str, Any]) -> None:
        assert picked(app(task(version=OLD, host="outdated"), task(), **info)) == "agent1:31000"

    def test_the_order_of_the_answer_means_nothing(self) -> None:
        tasks = [task(id=f"amqp.{number}", host=f"agent{number}") for number in (2, 1, 3)]
        assert {picked(app(*tasks)), picked(app(*reversed(tasks)))} == {"agent1:31000"}

    def test_times_without_milliseconds_or_that_are_none_do_no_harm(self) -> None:
        tasks = [task(version="2020-01-02T00:00:00Z", host="agent2"), task(version="soon"), task(version=None)]
        assert picked(app(*tasks)) == "agent2:31000"


class TestNetworks:
    def test_the_hosts_network(self) -> None:
        assert picked(app(task()), port_index=1) == "agent1:31001"

    def test_a_bridge_has_the_hosts_ports_and_its_own_address_means_nothing(self) -> None:
        ports = on_bridge({"containerPort": 5672, "hostPort": 0}, {"containerPort": 15672, "hostPort": 0})
        one = task(ipAddresses=[{"ipAddress": "172.17.0.2", "protocol": "IPv4"}])
        assert picked(app(one, **ports), port_index=1) == "agent1:31001"
        assert "at which address" in reason(app(one | {"ports": []}, **ports))

    def test_an_ip_per_task_has_the_containers_port(self) -> None:
        one = task(ports=[], ipAddresses=[{"ipAddress": "9.0.1.7", "protocol": "IPv4"}])
        assert picked(app(one, **on_its_own_network({"containerPort": 5672}))) == "9.0.1.7:5672"

    def test_an_ipv6_address_has_brackets(self) -> None:
        one = task(ports=[], ipAddresses=[{"ipAddress": "fd01::7", "protocol": "IPv6"}])
        assert picked(app(one, **on_its_own_network({"containerPort": 5672}))) == "[fd01::7]:5672"

    def test_of_an_ip_per_task_only_the_mappings_that_ask_have_a_port_of_the_host(self) -> None:
        """The host's ports are counted over those mappings alone."""
        ports = on_its_own_network({"containerPort": 5672}, {"containerPort": 15672, "hostPort": 0})
        one = task(ports=[31005], ipAddresses=[{"ipAddress": "9.0.1.7"}])
        assert picked(app(one, **ports)) == "9.0.1.7:5672"
        assert picked(app(one, **ports), port_index=1) == "agent1:31005"

    def test_of_two_networks_of_its_own_no_address_is_guessed(self) -> None:
        """Mesos gives the addresses in no order, and Marathon not their networks' names."""
        ports = on_its_own_network({"containerPort": 5672, "networkNames": ["b"]}, {"containerPort": 1, "hostPort": 0})
        ports["networks"] = [{"mode": "container", "name": "a"}, {"mode": "container", "name": "b"}]
        one = task(ports=[31005], ipAddresses=[{"ipAddress": "9.0.1.7"}, {"ipAddress": "9.0.2.7"}])
        assert "9.0.1.7 or 9.0.2.7" in passing_by_no_time(app(one, **ports))
        assert picked(app(one, **ports), port_index=1) == "agent1:31005"
        assert picked(app(task(ports=[], ipAddresses=[{"ipAddress": "9.0.2.7"}]), **ports)) == "9.0.2.7:5672"

    @pytest.mark.parametrize("addresses", [None, [], [None], [{"ipAddress": None}]], ids=str)
    def test_an_ip_per_task_without_the_ip_is_passed_over(self, addresses: Any) -> None:
        ports = on_its_own_network({"containerPort": 5672})
        mute = task(ports=[], ipAddresses=addresses)
        assert "at which address" in reason(app(mute, **ports))
        assert picked(app(mute, task(ports=[], ipAddresses=[{"ipAddress": "9.0.1.8"}]), **ports)) == "9.0.1.8:5672"

    def test_a_task_without_a_host_is_passed_over(self) -> None:
        assert picked(app(task(host=None, id="a"), task(id="b"))) == "agent1:31000"

    @pytest.mark.parametrize("host", ["$(reboot)", "a b", "agent1:80", "user@agent1"])
    def test_what_is_no_host_is_never_printed(self, host: str) -> None:
        """The answer goes into a command line."""
        assert repr(host)[1:-1] in refusal(pick, app(task(host=host)))


class TestPorts:
    def test_a_port_by_name(self) -> None:
        assert picked(app(task()), port_name="management") == "agent1:31001"

    def test_a_port_by_name_on_a_bridge(self) -> None:
        ports = on_bridge(
            {"containerPort": 15672, "hostPort": 0, "name": "ui"}, {"containerPort": 5672, "name": "amqp"}
        )
        assert picked(app(task(), **ports), port_name="amqp") == "agent1:31001"

    @pytest.mark.parametrize(
        ("wish", "words"),
        [
            ({"port_name": "ampq"}, "'ampq'; its ports: 0 amqp, 1 management"),
            ({"port_index": 2}, " 2; its ports: 0 amqp, 1 management"),
        ],
    )
    def test_a_port_that_the_app_has_not_is_no_matter_of_waiting(self, wish: dict[str, Any], words: str) -> None:
        found = passing_by_no_time(app(task()), **wish)
        assert f"{app()['id']} " in found
        assert words in found

    def test_an_app_without_ports(self) -> None:
        assert "its ports: none" in refusal(pick, app(task(), portDefinitions=None))

    def test_a_protocol_of_two_and_fields_that_nobody_knows_yet_do_no_harm(self) -> None:
        ports = on_bridge(
            {"containerPort": 5672, "hostPort": 0, "protocol": "udp,tcp", "networkNames": ["dcos"], "new": 1}
        )
        answer = app(task(checkResult={}, new={"a": []}), new=[1], unreachableStrategy="disabled", **ports)
        answer["constraints"] = [["hostname", "UNIQUE"]]
        assert picked(answer) == "agent1:31000"


class TestNone:
    @pytest.mark.parametrize("tasks", [{"tasks": []}, {"tasks": None}], ids=str)
    def test_nothing_started(self, tasks: dict[str, Any]) -> None:
        assert reason(app(**tasks)) == "app /amqp has no running instance: none has been started"

    def test_scaled_to_nothing(self) -> None:
        assert "scaled to 0" in reason(app(instances=0))

    def test_what_is_staged_is_counted_also_before_it_has_an_agent(self) -> None:
        assert "2 staging" in reason(app(tasksStaged=2))
        assert "1 staging" in reason(app(task(state="TASK_STAGING"), tasksStaged=1))

    def test_instances_that_are_being_killed_are_said(self) -> None:
        assert "1 killing, 1 unreachable" in reason(app(task(state="TASK_KILLING"), task(state="TASK_UNREACHABLE")))

    @pytest.mark.parametrize(("version", "at"), [(NEW, OLD), (OLD, LATER)], ids=["of this version", "after the change"])
    def test_the_last_failure_is_told_when_it_is_of_now(self, version: str, at: str) -> None:
        failure = {"version": version, "timestamp": at, "host": "agent1", "message": "exited\nwith status 1"}
        assert reason(app(lastTaskFailure=failure)).endswith("the last one failed on agent1: exited with status 1")

    def test_the_last_failure_of_an_earlier_version_is_not_told(self) -> None:
        """Marathon keeps it through new versions and successes."""
        failure = {"version": OLD, "timestamp": OLD, "host": "agent1", "message": "exited with status 1"}
        assert "fail" not in reason(app(lastTaskFailure=failure))

    def test_a_long_message_with_colours_is_one_short_line(self) -> None:
        failure = {"version": NEW, "timestamp": NEW, "message": "\x1b[31mdocker pull\r\n" + "x" * 5000}
        words = reason(app(lastTaskFailure=failure))
        assert words.isprintable()
        assert len(words) < 500

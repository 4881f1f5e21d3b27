"""What Marathon's answers mean for a change under way."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.schedulers.marathon.judgement import Goal, Tally, judge

OLD, NEW, LATER = (f"2026-01-0{day}T00:00:00.000Z" for day in (1, 2, 3))
WANTED = {"id": "/x", "cmd": "new", "instances": 2}
BEFORE = {"id": "/x", "cmd": "old", "instances": 2}
GOAL = Goal(WANTED, "d1", NEW, BEFORE)
OURS = {"id": "d1", "affectedApps": ["/x"], "currentStep": 1, "totalSteps": 2}
THEIRS = {"id": "d2", "affectedApps": ["/x"], "steps": [[{"type": "ScaleApplication"}]]}


def task(version: str = NEW, state: str = "TASK_RUNNING", **fields: Any) -> dict[str, Any]:
    return {"id": "t", "state": state, "startedAt": version, "version": version} | fields


def app(*tasks: dict[str, Any], definition: dict[str, Any] = WANTED, version: str = NEW, changed: str = "") -> Any:
    info = {"lastConfigChangeAt": changed or version, "lastScalingAt": version}
    return definition | {"version": version, "versionInfo": info, "tasks": list(tasks)}


def test_a_deployment_that_is_listed_goes_on_even_when_all_is_up() -> None:
    found = judge(GOAL, app(task(), task()), [OURS])
    assert (found.state, found.words) == ("going", "step 1 of 2, 2 of 2 instances up")


@pytest.mark.parametrize(
    "steps",
    [
        [[{"action": "StartApplication", "app": "/x"}], [{"action": "ScaleApplication", "app": "/x"}]],
        [{"actions": [{"type": "StartApplication", "app": "/x"}]}, {"actions": [{"type": "ScaleApplication"}]}],
        [{"actions": [{"action": "StartApplication", "app": "/x"}]}, {"actions": [{"action": "ScaleApplication"}]}],
    ],
    ids=["before 1.0", "1.0", "1.1.2"],
)
def test_steps_are_counted_however_a_version_writes_them(steps: list[Any]) -> None:
    found = judge(GOAL, app(task()), [{"id": "d1", "affectedApps": ["/x"], "steps": steps, "currentStep": 2}])
    assert (found.state, found.words) == ("going", "step 2 of 2, 1 of 2 instances up")


def test_a_deployment_that_is_gone_with_all_up_is_done() -> None:
    assert judge(GOAL, app(task(), task()), []).state == "done"


@pytest.mark.parametrize(
    "tasks",
    [
        [task()],
        [task(), task(state="TASK_STAGING", startedAt=None)],
        [task(), task(OLD)],
        [task(), task(), task(OLD)],
        [task(), task(), task()],
    ],
    ids=["one is missing", "one is staged", "one is old", "an old one stays", "one too many"],
)
def test_a_deployment_that_is_gone_is_not_done_for_that(tasks: list[dict[str, Any]]) -> None:
    found = judge(GOAL, app(*tasks), [])
    assert found.state == "undone"
    assert "the deployment is over" in found.words


def test_without_checks_running_is_enough_and_with_checks_all_must_be_alive() -> None:
    checks = WANTED | {"healthChecks": [{}]}
    alive, dead = task(healthCheckResults=[None, {"alive": True}]), task(healthCheckResults=[{"alive": False}])
    assert judge(GOAL, app(alive, alive, definition=checks), []).state == "done"
    for other in (dead, task(), task(healthCheckResults=None)):
        found = judge(GOAL, app(alive, other, definition=checks), [])
        assert found.state == "undone"
        assert "1 of 2 instances up, 1 not healthy yet" in found.words


def test_an_app_that_is_gone_has_failed() -> None:
    assert judge(GOAL, None, []).state == "failed"


def test_one_that_was_reverted_has_failed() -> None:
    found = judge(GOAL, app(task(OLD), task(OLD), definition=BEFORE, version=LATER), [])
    assert (found.state, "reverted" in found.words) == ("failed", True)


def test_one_that_was_replaced_by_another_has_failed() -> None:
    found = judge(GOAL, app(definition=WANTED | {"cmd": "theirs"}, version=LATER), [THEIRS])
    assert found.state == "failed"
    assert "replaced meanwhile by the deployment d2" in found.words


def test_one_that_was_scaled_by_someone_else_is_followed_to_their_number() -> None:
    scaled = WANTED | {"instances": 3}
    going = judge(GOAL, app(task(), task(), definition=scaled, version=LATER, changed=NEW), [THEIRS])
    assert (going.state, going.words) == ("going", "step 1 of 1, 2 of 3 instances up (scaled to 3 meanwhile)")
    done = judge(GOAL, app(task(), task(), task(LATER), definition=scaled, version=LATER, changed=NEW), [])
    assert done.state == "done"


def test_a_change_that_changed_nothing_is_done_though_its_version_is_never_seen() -> None:
    goal = Goal(WANTED, "d9", LATER, WANTED)
    assert judge(goal, app(task(), task()), []).state == "done"
    assert judge(Goal(WANTED, "", NEW, WANTED), app(task(), task()), []).state == "done"


def test_what_marathon_takes_for_the_same_is_done_and_what_was_reverted_is_not() -> None:
    """Both leave the app as it was; the deployment of a change that changes nothing is never listed."""
    before = BEFORE | {"version": OLD}
    goal, same = Goal(WANTED, "d1", NEW, before), app(task(OLD), task(OLD), definition=BEFORE, version=OLD)
    assert judge(goal, same, [], was_listed=False).state == "done"
    assert judge(goal, same, [], was_listed=True).state == "failed"


def test_a_foreign_deployment_of_another_app_means_nothing() -> None:
    other = {"id": "d3", "affectedApps": ["/y"]}
    assert judge(GOAL, app(task(), task()), [other]).state == "done"


def test_instances_that_finish_their_work_are_waited_for() -> None:
    found = judge(GOAL, app(task(), task(), task(OLD, "TASK_KILLING")), [])
    assert (found.state, found.words) == ("going", "2 of 2 instances up, 1 finishing their work")


def test_a_tally_counts_the_present_definition() -> None:
    tally = Tally.of(app(task(), task(OLD), task(OLD, "TASK_FAILED"), task(state="TASK_UNREACHABLE")))
    assert tally == Tally(wanted=2, up=1, running=1, surplus=1, leaving=0)


def test_answers_without_tasks_and_version_info_do_no_harm() -> None:
    bare = {"id": "/x", "cmd": "new", "instances": 2, "version": NEW, "tasks": None, "versionInfo": None}
    assert judge(GOAL, bare, [{"id": "d1"}]).words == "0 of 2 instances up"

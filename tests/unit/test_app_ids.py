"""App ids: Marathon's grammar, the slug of a queue's name, and two names with one slug."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import app_ids
from scripts.errors import ClusterError

# The pattern that Marathon itself checks ids with (its REST API's PathId type).
MARATHON = re.compile(
    r"^(\/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|\/))+$"
)


@pytest.mark.parametrize("text", ["/amqp", "/group/amqp", "/a.b-c", "/0"])
def test_parse_takes(text):
    assert app_ids.parse(text) == text


def test_parse_adds_the_slash():
    assert app_ids.parse("amqp") == "/amqp"


@pytest.mark.parametrize("text", ["", "/", "//a", "/a/", "/A", "/a_b", "/-a", "/a-", "/a b", "/..", "/x/tasks", "/a\n"])
def test_parse_refuses(text):
    with pytest.raises(ClusterError, match="is not an app id"):
        app_ids.parse(text)


@pytest.mark.parametrize(
    ("queue", "app_id"),
    [
        ("myqueue", "/worker-myqueue"),
        ("My_Queue", "/worker-my-queue"),
        ("a..b__c", "/worker-a-b-c"),
        ("-q-", "/worker-q"),
    ],
)
def test_the_slug_of_a_queue(queue, app_id):
    assert app_ids.worker_id(queue) == app_id


@given(queue=st.text(min_size=1))
def test_every_slug_is_an_id_for_us_and_for_marathon(queue):
    try:
        app_id = app_ids.worker_id(queue)
    except ClusterError:
        assert not re.search("[a-z0-9]", queue.lower())
    else:
        assert app_ids.parse(app_id) == app_id
        assert MARATHON.match(app_id)


def test_a_name_without_letters_needs_an_id():
    with pytest.raises(ClusterError, match=r"queue '☃': .*--app"):
        app_ids.worker_id("☃")


def test_two_queues_with_one_slug_are_refused():
    with pytest.raises(ClusterError, match=r"^/worker-a-b runs for queue 'a_b', not for queue 'a-b'.*--app"):
        app_ids.refuse_other_queue("/worker-a-b", {"env": {"QUEUE_NAME": "a_b"}}, {"env": {"QUEUE_NAME": "a-b"}})


def test_workers_do_not_take_the_queue_s_place():
    with pytest.raises(ClusterError, match="/amqp runs for no queue, not for queue 'q'"):
        app_ids.refuse_other_queue("/amqp", {}, {"env": {"QUEUE_NAME": "q"}})


def test_the_same_queue_is_fine():
    app_ids.refuse_other_queue("/w", {"env": {"QUEUE_NAME": "q"}}, {"env": {"QUEUE_NAME": "q"}})
    app_ids.refuse_other_queue("/amqp", {}, {"env": {}})

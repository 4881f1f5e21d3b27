import pytest

from scripts.app_id import canonical_app_id
from scripts.errors import ClusterError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("amqp", "/amqp"),
        ("/amqp", "/amqp"),
        ("/amqp/", "/amqp"),
        ("//amqp", "/amqp"),
        ("group/amqp", "/group/amqp"),
        ("/a//b-2/c.d", "/a/b-2/c.d"),
        ("tasks/amqp", "/tasks/amqp"),
        ("/0", "/0"),
    ],
)
def test_slashes_do_not_count(text: str, wanted: str) -> None:
    assert canonical_app_id(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "/", "my_queue", "AMQP", "-amqp", "amqp-", "a.", "a b", "group/*", "*", "../amqp", "a/./b", "amqp?force=true",
     "amqp#", "a%2fb", "amqp/tasks", "amqp/versions", "amqp/restart", "amqp\n", "ämqp"],
)  # fmt: skip
def test_what_is_no_id_is_named_in_one_line(text: str) -> None:
    with pytest.raises(ClusterError) as caught:
        canonical_app_id(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)

"""A queue with a login of its own: who is let in from the network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from cluster import credentials
from cluster.apps.app import Image
from cluster.apps.component_apps import queue_app
from cluster.operations.brokers import queue_at
from cluster.queue import login as queue_login
from cluster.schedulers import DeployOptions
from cluster.settings import Settings
from scripts.amqp.broker import open_blocking
from scripts.amqp.management import Management
from scripts.errors import ClusterError, ServiceAway
from tests.conftest import engine_of, own_settings

pytestmark = [pytest.mark.engine, pytest.mark.broker]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue_image: str) -> Iterator[Settings]:
    monkeypatch.setattr(credentials, "SECRETS", tmp_path / ".secrets")
    found = own_settings(tmp_path)
    yield found
    engine = engine_of(found)
    engine.stop("/amqp", now=True)
    engine.delete_data("/amqp")


def deploy(settings: Settings, image: str, environ: dict[str, str]) -> queue_login.QueueLogin:
    """Like on a cluster: without what lets guest in."""
    login, engine = queue_login.ensure(settings, environ), engine_of(settings)
    app = queue_app(settings, engine, Image(image, "test"))
    env = {name: value for name, value in app.env.items() if name != "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"}
    app = queue_login.for_queue(login).added_to(replace(app, env=env))
    with queue_login.used(settings, login):
        engine.apply(engine.plan(app), DeployOptions(timeout_s=120))
    return login


def url_of(settings: Settings, login: queue_login.QueueLogin) -> str:
    return replace(queue_at(settings, engine_of(settings)), login=login).url


def test_its_user_comes_in_and_guest_does_not_and_a_new_password_takes_its_place(settings, queue_image):
    first = deploy(settings, queue_image, {})
    with open_blocking(url_of(settings, first)) as connection:
        connection.channel().queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
    assert Management(settings.queue.management_url, first.user, first.password, "/").queues()
    with pytest.raises(ClusterError, match="user and password"):
        open_blocking(str(settings.queue.url))
    engine = engine_of(settings)
    earlier = engine.present("/amqp")
    assert earlier

    second = deploy(settings, queue_image, {"AMQP_PASSWORD": "another"})
    assert second.id != first.id
    with open_blocking(url_of(settings, second)) as connection:
        connection.channel().queue_declare("kept", passive=True)
    with pytest.raises(ClusterError, match="user and password"):
        open_blocking(url_of(settings, first))

    engine.apply(engine.plan(earlier), DeployOptions(timeout_s=120))
    assert queue_login.login_of(settings, engine.present("/amqp"), {}) == first
    open_blocking(url_of(settings, first)).close()


def test_the_user_of_an_earlier_deploy_is_removed_and_a_person_s_own_stays(settings, queue_image):
    first = deploy(settings, queue_image, {})
    own = replace(first, user="someone/else")
    requests.put(
        f"{settings.queue.management_url}/api/users/{quote(own.user, safe='')}", timeout=10,
        auth=(first.user, first.password), json={"password": own.password, "tags": "administrator"},
    ).raise_for_status()  # fmt: skip

    second = deploy(settings, queue_image, {"AMQP_USER": "me", "AMQP_PASSWORD": "x"})
    open_blocking(url_of(settings, first)).close()  # RabbitMQ forgets nobody by itself
    asked = Management(settings.queue.management_url, second.user, second.password, "/")
    assert queue_login.remove_earlier(asked) == [first.user]
    with pytest.raises(ClusterError, match="user and password"):
        open_blocking(url_of(settings, first))
    open_blocking(url_of(settings, second)).close()
    assert queue_login.remove_earlier(replace(asked, user=own.user, password=own.password)) == [second.user]
    with pytest.raises(ClusterError, match="401"):
        queue_login.remove_earlier(asked)
    with pytest.raises(ServiceAway, match=r"http://127\.0\.0\.1:1: "):
        queue_login.remove_earlier(replace(asked, url="http://127.0.0.1:1"))

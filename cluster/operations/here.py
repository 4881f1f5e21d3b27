"""The needs of workers on this machine: an engine, the queue, and their image with the files as they are now."""

from __future__ import annotations

from dataclasses import replace

from cluster.apps.app import Image
from cluster.components import QUEUE, WORKER, Component
from cluster.images import sources
from cluster.operations.build import build_and_push
from cluster.operations.deploy import Rollout, deploy_queue
from cluster.schedulers import Say, Scheduler, selection
from cluster.schedulers.selection import Choice
from cluster.settings import Settings
from scripts.amqp.broker import open_blocking
from scripts.errors import ClusterError, ServiceAway


def engine_here(settings: Settings, choice: Choice, say: Say) -> tuple[Settings, Scheduler]:
    """Return an engine of this machine, installed where that may be done, and settings that name it."""
    settings = replace(settings, scheduler=choice.name)
    if selection.SCHEDULERS[choice.name].load().has_images:
        engine = selection.provide(settings, say)
    else:
        engine = selection.connect(settings, choice, say)
    return replace(settings, scheduler=engine.name), engine


def start_queue(settings: Settings, rollout: Rollout, say: Say) -> None:
    """See that the queue runs."""
    if queue_answers(settings):
        return
    engine = rollout.engine
    if engine.has_images and not image_of(engine, settings.queue.tag):
        _build(settings, QUEUE, settings.queue.tag, say)
    say(f"starting the queue on {engine.place}")
    deploy_queue(settings, rollout)


def queue_answers(settings: Settings) -> bool:
    """Return True where a queue runs on this machine, whoever runs it."""
    try:
        open_blocking(settings.queue.url).close()
    except ServiceAway:
        return False
    return True


def image_of(engine: Scheduler, tag: str) -> Image | None:
    """Return the image of a tag; None where an engine has none."""
    try:
        return engine.image(tag)
    except ClusterError:
        return None


def current_image(settings: Settings, engine: Scheduler, say: Say) -> Image:
    """Return the workers' image with the actions as they are now, built where it is missing or has others."""
    tag = settings.worker.tag
    if engine.has_images:
        found = image_of(engine, tag)
        if not found or found.sources != sources.digest(WORKER):
            _build(settings, WORKER, tag, say)
    return engine.image(tag)


def _build(settings: Settings, component: Component, tag: str, say: Say) -> None:
    say(f"building the image {tag}")
    build_and_push(settings, component, tag, push=False, say=say)

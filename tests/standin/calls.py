"""One request on its way to its answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.standin.answers import Refused, Request
from tests.standin.canonical import path_id
from tests.standin.state import App
from tests.standin.world import World


@dataclass(frozen=True)
class Call:
    """What is asked of which world; `id` and `version` are parts of the path."""

    world: World
    request: Request
    id: str = ""
    version: str = ""

    def app(self) -> App:
        """The app that is asked for; raises Refused (404)."""
        app_id = path_id(self.id)
        if app_id not in self.world.apps:
            raise Refused(404, f"App '{app_id}' does not exist")
        return self.world.apps[app_id]

    def json(self) -> Any:
        """The body; raises Refused (400), with the parser's words as a string."""
        if not self.request.body.strip():
            text = "No content to map due to end-of-input\n at [Source: (byte[])[0 bytes]; line: 1, column: 0]"
            raise Refused(400, "Please specify data in JSON format", details=text)
        try:
            return json.loads(self.request.body)
        except ValueError as error:
            raise Refused(400, "Invalid JSON", details=str(error)) from error

"""The server itself."""

from __future__ import annotations

from futurity.client.asking import Asking, segment
from futurity.errors import FuturityError, Problem
from futurity.models import Readiness, ServerInfo, read

UNAVAILABLE = 503


class OfServer(Asking):
    """The operations that ask the server about itself."""

    def is_alive(self) -> bool:
        """Whether the process answers. Never touches the database."""
        try:
            return bool(self._ask("GET", "/livez").json()["status"] == "ok")
        except FuturityError:
            return False

    def readiness(self) -> Readiness:
        """Whether the server should be sent work, and what is wrong though it goes on.

        `status` is `ready`, or why not: `draining`, `storage_full`. It tells more to who may read.
        """
        try:
            return read(Readiness, self._ask("GET", "/readyz", query={"verbose": "1"}).json())
        except Problem as problem:
            if problem.status != UNAVAILABLE:
                raise
            return Readiness(status=problem.code, degraded=(problem.detail,))

    def server(self) -> ServerInfo:
        """Ask for the server's version, its limits, and what it can do. Any key will do."""
        return read(ServerInfo, self._ask("GET", "/v1/server").json())

    def contract(self) -> str:
        """Get `openapi.yaml` as this server has it."""
        return self._ask("GET", "/openapi.yaml").body.decode()

    def explain(self, code: str) -> str:
        """Read what a problem's code means and what to do about it, as Markdown."""
        return self._ask("GET", f"/problems/{segment(code)}").body.decode()

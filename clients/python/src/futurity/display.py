"""Futures and executors in notebooks: a state, a bar, the last line of the log. One request, of a second at most."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from futurity.errors import FuturityError
from futurity.http import Request

if TYPE_CHECKING:
    from futurity.engine import Engine
    from futurity.future import RemoteFuture

SECONDS_MAX = 1.0
COLOURS = {
    "pending": "#8a8a8a",
    "running": "#1f6feb",
    "succeeded": "#2da44e",
    "failed": "#cf222e",
    "cancelled": "#9a6700",
}
FIELDS = "state,progress,run_ms,attempt,error"
LINE_CHARACTERS_MAX = 200


def future_html(engine: Engine, future: RemoteFuture[Any]) -> str:
    """Show a future: what the server says of it, or what was known if it says nothing in time."""
    told = _job(engine, future)
    state = str(told.get("state", future.seen))
    parts = [
        f'<b style="color:{COLOURS.get(state, "inherit")}">{_text(state)}</b>',
        f"<code>{_text(future.label)}</code>",
        _bar(told.get("progress")),
        _seconds(told.get("run_ms")),
        _error(told.get("error")),
        f'<a href="{_text(engine.client.url)}/v1/jobs/{_text(future.id)}"><code>{_text(future.id)}</code></a>',
    ]
    return '<div class="futurity-future">' + " ".join(part for part in parts if part) + "</div>"


def executor_html(engine: Engine) -> str:
    """Show an executor: how many of its futures are in which state here. Nobody is asked."""
    with engine.lock:
        waiting = len(engine.unsent) + len(engine.in_flight)
        unsettled = len(engine.futures)
    rows = {
        "server": engine.client.url,
        "name": engine.name,
        "not settled": str(unsettled),
        "of them on their way to the server": str(waiting),
    }
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f'<table class="futurity-executor">{cells}</table>'


def _job(engine: Engine, future: RemoteFuture[Any]) -> dict[str, Any]:
    if not future.is_accepted:
        return {}
    try:
        request = Request("GET", f"/v1/jobs/{future.id}", query={"fields": FIELDS}, patience=SECONDS_MAX)
        told: dict[str, Any] = engine.client.transport.request(request).json()
    except FuturityError:
        return {}
    return told


def _bar(progress: Any) -> str:
    if not progress:
        return ""
    fraction, message = progress.get("fraction"), progress.get("message")
    bar = "" if fraction is None else f'<progress value="{float(fraction):.3f}" max="1"></progress>'
    return f"{bar} {_text(message)}".strip() if message else bar


def _seconds(run_ms: Any) -> str:
    return "" if run_ms is None else f"{int(run_ms) / 1000:.1f} s"


def _error(error: Any) -> str:
    return "" if not error else f"<code>{_text(error['type'])}: {_text(error['message'])}</code>"


def _text(value: Any) -> str:
    return html.escape(str(value)[:LINE_CHARACTERS_MAX], quote=True)

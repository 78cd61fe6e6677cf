"""Serve Optuna's dashboard on a copy of a run that follows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tunecnn.errors import InputError, RunError, reason
from tunecnn.run.run import Run
from tunecnn.study.mirror import Mirror
from tunecnn.words import shown

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_SECONDS = 2.0


def dashboard(path: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the dashboard of a run until the user interrupts.

    What is typed into it stays in the copy, and ends with it.

    Args:
        path: folder of the run.
        host: address to listen on; only this machine reaches 127.0.0.1.
        port: port to listen on; 0 for a free one.
        say: function that is called with the address, and with any problem.

    Raises:
        InputError: if optuna-dashboard is not installed, or the port is taken.
        RunError: if the run cannot be read.
    """
    run = Run(path)
    run.check_begun()
    try:
        server = _Server((host, port), _Quiet)
    except (OSError, TypeError, UnicodeError) as error:
        raise InputError(f"cannot listen on {shown(host)}:{port} ({reason(error)})") from error
    with server:
        mirror = Mirror(run.path, run.name, run.space.objectives, run.info.id)
        server.set_app(_application(mirror))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"http://{host}:{server.server_port}/dashboard/")
        say("what is typed into it is not kept; end it with Ctrl-C")
        problem = ""
        while True:  # until the user interrupts
            time.sleep(_SECONDS)
            try:
                mirror.follow()
            except (RunError, OSError) as error:
                if str(error) != problem:
                    problem = str(error)
                    say(f"it does not follow the run at the moment: {problem}")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print no line for each request."""


def _application(mirror: Mirror) -> WSGIApplication:
    """Return Optuna's dashboard of a copy; its import takes longer than all else here."""
    try:
        import optuna_dashboard
    except ImportError as error:
        raise InputError(
            "the dashboard needs optuna-dashboard: pip install 'tunecnn[dashboard]'"
        ) from error
    application: WSGIApplication = optuna_dashboard.wsgi(mirror.storage)
    return application

"""Gunicorn's threaded worker, with a deadline for the head of a request as well."""

from contextlib import ExitStack
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from refiner.arrivals import Arrivals
from refiner.deadline import Deadline

HEAD_S = 5.0
"""How long a connection that has a thread may take to say what it wants."""


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A thread that waits for half a request line waits for HEAD_S and no longer; gunicorn itself would for good."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heads = Arrivals()

    def handle(self, conn: Any) -> Any:
        """Handle one request on a connection, from its first byte on."""
        with ExitStack() as conn.head:
            conn.head.enter_context(self._heads.expecting({"gunicorn.socket": conn.sock}, Deadline(HEAD_S)))
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Hand a request whose head is complete to the app."""
        conn.head.close()
        return super().handle_request(req, conn)

"""A run on disk: described, started, resumed, evaluated."""

from gfnjax.run import text_tasks as text_tasks
from gfnjax.run.choices import configure
from gfnjax.run.session import Outcome, RunFailedError, resume, start

__all__ = ["Outcome", "RunFailedError", "configure", "resume", "start"]

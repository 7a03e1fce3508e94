"""A run on disk: described, started, resumed, evaluated."""

from gfnjax.run.choices import configure
from gfnjax.run.session import Outcome, RunFailedError, resume, start

__all__ = ["Outcome", "RunFailedError", "configure", "resume", "start"]

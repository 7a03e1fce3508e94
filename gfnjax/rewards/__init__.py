"""Log-reward callables."""

from gfnjax.rewards.host import host

__all__ = ["host"]

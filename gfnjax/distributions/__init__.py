"""Kinds of actions that are not numbered: densities over real numbers, behind `gfnjax.actions`."""

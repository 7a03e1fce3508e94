"""Measurements of gfnjax, and of its peers beside it: `python -m benchmarks --help`.

The problems and their settings are in `benchmarks.tasks`; each command has a file of its own.
"""

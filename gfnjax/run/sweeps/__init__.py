"""Sweeps: many runs that differ in some settings and their seeds."""

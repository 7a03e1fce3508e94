"""Objectives: one idea a file."""

"""Searches: what Optuna asks for, trained as sweeps."""

"""Log-reward callables."""

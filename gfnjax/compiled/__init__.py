"""Programs that XLA has compiled, as data; and chips that are compiled for without being there."""

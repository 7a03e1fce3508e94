"""Data: published files of the field, and a user's own. Errors name the file and the place."""

from gfnjax.data.files import absolute
from gfnjax.data.matrices import read_matrix
from gfnjax.data.published import available, load, locate
from gfnjax.data.sequences import read_sequences

__all__ = ["absolute", "available", "load", "locate", "read_matrix", "read_sequences"]

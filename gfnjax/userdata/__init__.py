"""A user's own data files: matrices and aligned sequences. Errors name the file and the place."""

from gfnjax.userdata.files import absolute
from gfnjax.userdata.matrices import read_matrix
from gfnjax.userdata.sequences import read_sequences

__all__ = ["absolute", "read_matrix", "read_sequences"]

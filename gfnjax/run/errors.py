"""What goes wrong before anything is trained."""


class UsageError(ValueError):
    """A request that cannot be carried out: one line that says what is wrong and what helps."""

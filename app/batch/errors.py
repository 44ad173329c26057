"""What ends a job."""


class BatchError(Exception):
    """A job cannot begin or go on. The message names the input or the file, and says what was expected."""

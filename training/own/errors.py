"""What can be wrong with a folder of pictures or with a training on it."""


class OwnPicturesError(Exception):
    """The pictures or the options cannot be used. One line that names the file or option, and what was expected."""

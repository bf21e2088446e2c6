"""What is wrong with a file, said in one sentence for the user."""


class NiftiError(ValueError):
    """A file that cannot be used."""


class TooLarge(NiftiError):
    """A file that would take much of the memory; `allow_large` reads it all the same."""

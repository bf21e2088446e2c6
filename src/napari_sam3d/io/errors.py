"""What is wrong with a file, said in one sentence for the user."""


class NiftiError(ValueError):
    """A file that cannot be used."""


class TooLarge(NiftiError):
    """A gzipped file that would take much of the memory.

    Parameters
    ----------
    sentence
        What the user is told.
    readable
        Whether `allow_large` reads it all the same; unpacking it to .nii always helps.
    """

    def __init__(self, sentence: str, *, readable: bool = True) -> None:
        super().__init__(sentence)
        self.readable = readable

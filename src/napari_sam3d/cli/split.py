"""`napari-sam3d split`: the pickled split of the 3DSAM-adapter repository becomes JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from napari_sam3d.cli.tables import print_table
from napari_sam3d.cli.writable import check_free


@dataclass(frozen=True, kw_only=True)
class Split:
    """Write a split.pkl of the 3DSAM-adapter repository as JSON, which `evaluate --split` reads.

    Nothing in the pickle is run: one that holds anything but plain values is refused.

    napari-sam3d split datafile/kits/split.pkl -o kits.json
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    """The split: a pickle, or JSON of this program."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE.json")]
    """The file to write."""
    overwrite: bool = False
    """Replace a file that exists."""

    def run(self) -> None:
        """Convert it, and print how many cases each part has."""
        from napari_sam3d.io.split_file import read_split, write_split

        if self.output.suffix.lower() != ".json":
            raise ValueError(f"The file {self.output} must end in .json.")
        check_free(self.output, self.overwrite)
        split = read_split(self.file)
        write_split(self.output, split, overwrite=self.overwrite)
        parts = list(dict.fromkeys(part for fold in split.folds for part in fold))
        rows = [
            (str(number), *(str(len(fold[part])) if part in fold else "" for part in parts))
            for number, fold in enumerate(split.folds)
        ]
        print_table([("fold", *parts), *rows])
        print(f"Split: {self.output}")

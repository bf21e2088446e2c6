"""Choose the settings of the classical segmenters on training volumes, by mean Dice over clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from accuracy import clicks, index
from classical import random_walk, region_growing, seeded_watershed

from napari_sam3d.io import read_nifti

GRID = {
    "region growing": [(region_growing, (t,)) for t in (0.2, 0.4, 0.7, 1.0, 1.4, 1.8)],
    "random walker": [(random_walk, (b, r)) for b in (60, 300, 1000, 3000) for r in (0.7, 1.0)],
    "watershed": [(seeded_watershed, (s, r)) for s in (0.7, 1.5) for r in (0.3, 0.6, 1.0)],
}


def main(data: Path, cases: int = 12) -> None:
    """Print the score of every setting.

    Parameters
    ----------
    data
        Folder with `index.csv`.
    cases
        So many volumes, evenly spread over the training volumes with use `default`.
    """
    rows = [row for row in index(data, "train") if row["use"] == "default"]
    rows = rows[:: max(1, len(rows) // cases)]
    for method, settings in GRID.items():
        for make, values in settings:
            scores = []
            for row in rows:
                volume = read_nifti(data / row["image_file"])
                labels = np.ascontiguousarray(read_nifti(data / row["label_file"]).data)
                found = np.bincount(labels.astype(int).ravel())[1:].argmax() + 1
                scores.append(clicks(volume, labels == found, make(*values))[0])
            print(
                method,
                values,
                np.round(np.mean(scores, 0), 3),
                round(np.mean(scores), 3),
                flush=True,
            )


if __name__ == "__main__":
    tyro.cli(main)

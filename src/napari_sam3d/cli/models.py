"""`napari-sam3d models`: what can be named by `--model`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from napari_sam3d.catalog import MODELS


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models that --model can name."""

    json: bool = False
    """Print one JSON list instead of a table."""

    def run(self) -> None:
        """Print the catalog."""
        if self.json:
            rows = [{**asdict(s), "prompts": sorted(s.prompts)} for s in MODELS.values()]
            print(json.dumps(rows))
            return
        table = [("model", "takes", "patch", "weights", "licence")]
        for spec in MODELS.values():
            table.append(
                (
                    spec.name,
                    ", ".join(sorted(spec.prompts)),
                    " x ".join(str(n) for n in spec.patch_shape),
                    "built in" if spec.weights.shipped else "downloaded once",
                    spec.weights.licence,
                )
            )
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            print("  ".join(f"{t:{w}}" for t, w in zip(row, widths, strict=True)).rstrip())

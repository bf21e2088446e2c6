"""`napari-sam3d models`: what can be named by `--model`, and where its weights are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from tyro.conf import OmitSubcommandPrefixes, subcommand

from napari_sam3d.catalog import MODELS, ModelSpec
from napari_sam3d.cli.model_files import Add, Convert, Fetch
from napari_sam3d.cli.progress import MEGABYTE
from napari_sam3d.cli.tables import print_table


@dataclass(frozen=True, kw_only=True)
class List:
    """List the models; `napari-sam3d models` alone does so, too."""

    json: bool = False
    """Print one JSON list instead of a table."""

    def run(self) -> None:
        """Print the catalog."""
        if self.json:
            print(json.dumps([row(spec) for spec in MODELS.values()]))
            return
        table = [("model", "sees", "takes", "patch", "licence", "weights")]
        for spec in MODELS.values():
            patch = " x ".join(str(n) for n in spec.patch_shape) if any(spec.patch_shape) else "-"
            table.append(
                (
                    spec.name,
                    SEES[spec.way],
                    ", ".join(sorted(spec.prompts)),
                    patch,
                    spec.weights.licence,
                    where(spec),
                )
            )
        print_table(table)


Action = (
    Annotated[List, subcommand("list")]
    | Annotated[Add, subcommand("add")]
    | Annotated[Convert, subcommand("convert")]
    | Annotated[Fetch, subcommand("fetch")]
)
DEFAULT = List()


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models that --model can name, and bring their weights.

    Some are downloaded at first use, or with `models fetch`. The authors of others offer theirs on
    a page: `models add` takes the file from there.
    """

    json: bool = False
    """Print the list as JSON."""
    action: OmitSubcommandPrefixes[Action] = DEFAULT

    def run(self) -> None:
        """Do what was chosen."""
        if self.json and isinstance(self.action, List):
            List(json=True).run()
        else:
            self.action.run()


SEES = {
    "following": "patches that fit the object",
    "fixed": "patches of one voxel size",
    "slices": "slice by slice",
    "classes": "the whole volume",
}


def row(spec: ModelSpec) -> dict[str, object]:
    """A row of the catalog for JSON."""
    values = {**asdict(spec), "prompts": sorted(spec.prompts)}
    return {**values, "weights": {**values["weights"], "state": state(spec)}}


def state(spec: ModelSpec) -> str:
    """Where the weights are: built in, here, to download or to be added."""
    from napari_sam3d.engine.places import is_here

    if spec.weights.shipped:
        return "built in"
    if is_here(spec):
        return "here"
    return "to download" if spec.weights.url else "to be added"


def where(spec: ModelSpec) -> str:
    """The same as a sentence for the table."""
    found = state(spec)
    if found == "to download":
        size = f", {spec.weights.size / MEGABYTE:.0f} MB" if spec.weights.size else ""
        return f"downloaded at first use{size}"
    return f"to be added, from {spec.weights.page}" if found == "to be added" else found

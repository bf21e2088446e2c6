"""`napari-sam3d adapters`: what can be named by `--adapter`, and passing such files on."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from napari_sam3d.cli.progress import MEGABYTE
from napari_sam3d.cli.tables import print_table
from napari_sam3d.cli.writable import check_folder

if TYPE_CHECKING:
    from napari_sam3d.engine.adapter_facts import AdapterFacts

Name = Positional[Annotated[str, arg(metavar="NAME")]]


@dataclass(frozen=True, kw_only=True)
class List:
    """List the adapters; `napari-sam3d adapters` alone does so, too."""

    json: bool = False
    """Print one JSON list instead of a table."""

    def run(self) -> None:
        """Print what each says of itself."""
        from napari_sam3d.engine.adapter_facts import read_facts
        from napari_sam3d.engine.places import adapter_file, adapter_names

        rows: list[dict[str, object]] = []
        unreadable: list[str] = []
        table: list[tuple[str, ...]] = [
            ("adapter", "model", "classes", "volumes", "Dice", "date", "licence")
        ]
        for name in adapter_names():
            path = adapter_file(name)
            try:
                facts = read_facts(path)
            except ValueError as error:
                rows.append({"adapter": name, "file": str(path), "error": str(error)})
                table.append((name, "?", *[""] * 5))
                unreadable.append(str(error))
            else:
                rows.append({"adapter": name, "file": str(path), **asdict(facts)})
                table.append((name, *_cells(facts)))
        if self.json:
            print(json.dumps(rows))
        elif rows:
            print_table(table)
            for sentence in unreadable:
                print(sentence, file=sys.stderr)
        else:
            print("There is no adapter yet; `napari-sam3d train` makes one.")


@dataclass(frozen=True, kw_only=True)
class Import:
    """Keep the file of an adapter, so that --adapter and the Segment dock find it by its name.

    Nothing in the file is run. It is refused when its model is not here, or has other weights.

    napari-sam3d adapters import downloads/femur.safetensors
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    """An adapter: .safetensors."""
    as_: Annotated[str | None, arg(name="as", metavar="NAME")] = None
    """What to call it; as its file when not given."""
    overwrite: bool = False
    """Replace an adapter of this name."""

    def run(self) -> None:
        """Check and copy the file."""
        from napari_sam3d.engine.adapter_files import check_adapter, keep_adapter, name_for
        from napari_sam3d.engine.places import check_name

        facts = check_adapter(self.file)
        name = name_for(self.file, facts) if self.as_ is None else check_name(self.as_)
        path = keep_adapter(self.file, name, self.overwrite)
        size = path.stat().st_size / MEGABYTE
        print(f"Added the adapter {name} for {facts.model}, {size:.1f} MB: {path}")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Copy an adapter to any place, to pass it on.

    napari-sam3d adapters export femur /media/stick/femur.safetensors
    """

    name: Name
    """Name of the adapter."""
    out: Positional[Annotated[Path, arg(metavar="OUT.safetensors")]]
    """The file to write."""
    overwrite: bool = False
    """Replace a file that exists."""

    def run(self) -> None:
        """Copy the file."""
        from napari_sam3d.engine.adapter_files import export_adapter
        from napari_sam3d.engine.places import SUFFIX

        if self.out.suffix != SUFFIX:
            raise ValueError(f"The file {self.out} must end in {SUFFIX}.")
        check_folder(self.out.parent)
        path = export_adapter(self.name, self.out, self.overwrite)
        print(f"{path}: {path.stat().st_size / MEGABYTE:.1f} MB")


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Delete an adapter; the run that made it stays.

    napari-sam3d adapters delete femur
    """

    name: Name
    """Name of the adapter."""

    def run(self) -> None:
        """Delete the file."""
        from napari_sam3d.engine.adapter_files import delete_adapter

        print(f"Deleted {delete_adapter(self.name)}")


Action = (
    Annotated[List, subcommand("list")]
    | Annotated[Import, subcommand("import")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Delete, subcommand("delete")]
)
DEFAULT = List()


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """List the adapters that --adapter can name; import, export and delete them."""

    json: bool = False
    """Print the list as JSON."""
    action: OmitSubcommandPrefixes[Action] = DEFAULT

    def run(self) -> None:
        """Do what was chosen."""
        if self.json and isinstance(self.action, List):
            List(json=True).run()
        else:
            self.action.run()


def _cells(facts: AdapterFacts) -> tuple[str, ...]:
    """Its facts for the table."""
    classes = ", ".join(facts.classes[:3]) + ", ..." * (len(facts.classes) > 3)
    dice = ""
    if facts.dice_before and facts.dice_after:
        dice = f"{facts.dice_before[0]:.2f} to {facts.dice_after[0]:.2f}"
    return facts.model, classes, str(facts.cases), dice, facts.date, facts.licence

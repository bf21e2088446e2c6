"""`napari-sam3d models add | convert | fetch`: files of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.progress import MEGABYTE, DownloadBar
from napari_sam3d.cli.writable import check_free

if TYPE_CHECKING:
    from napari_sam3d.engine.store import Kept

Base = Annotated[Path | None, arg(metavar="SAM_FILE")]


@dataclass(frozen=True, kw_only=True)
class Add:
    """Add a file of weights that its authors offer on a page.

    The file is recognised by what it holds, whatever it is called, and nothing of it is run. Which
    task a 3DSAM-adapter or MA-SAM was tuned for, it does not say: a word in the name of the file
    or of its folder tells (kits, lits, pancreas, colon, btcv, prostate), or --as.

    napari-sam3d models add downloads/kits/last.pth.tar

    napari-sam3d models add epoch_159.pth --as ma_sam_btcv --base sam_vit_h_4b8939.pth
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    """Weights as released: .pth, .pth.tar, .pt or .safetensors."""
    as_: Annotated[str | None, arg(name="as", metavar="NAME")] = None
    """Name of the model."""
    base: Base = None
    """The SAM file under MA-SAM's adapters; else the one of the list is used."""

    def run(self) -> None:
        """Check and keep the file."""
        from napari_sam3d.engine.store import add

        if self.as_ is not None:
            model_spec(self.as_)
        with DownloadBar("the SAM file", quiet=False) as bar:
            kept = add(self.file, self.as_, self.base, bar)
        print(f"Added {kept.name} from {self.file.name} ({kept.kind})")
        report(kept)


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write the tensors of a file of weights alone, as safetensors.

    What training left behind and masks that can be computed are not written. `models add` takes
    the new file like the old one, but for models that are downloaded.

    napari-sam3d models convert last.pth.tar kits.safetensors
    """

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    """Weights as released: .pth, .pth.tar, .pt or .safetensors."""
    out: Positional[Annotated[Path, arg(metavar="OUT.safetensors")]]
    """The file to write."""
    base: Base = None
    """The SAM file under MA-SAM's adapters; else the one of the list is used."""
    overwrite: bool = False
    """Replace a file that exists."""

    def run(self) -> None:
        """Check the file and write the other one."""
        from napari_sam3d.engine.store import convert

        if self.out.suffix != ".safetensors":
            raise ValueError(f"The file {self.out} must end in .safetensors.")
        if self.out.exists() and self.file.exists() and self.out.samefile(self.file):
            raise ValueError(f"{self.out} is the file to convert; choose another name.")
        check_free(self.out, self.overwrite)
        with DownloadBar("the SAM file", quiet=False) as bar:
            kept = convert(self.file, self.out, self.base, bar)
        print(f"Converted {self.file.name} ({kept.kind})")
        report(kept)


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Download the weights of a model now instead of at first use.

    What was downloaded before a connection broke is not downloaded again.

    napari-sam3d models fetch sam_med3d_turbo
    """

    name: Positional[Annotated[str, arg(metavar="NAME")]]
    """Name of the model."""

    def run(self) -> None:
        """Download, unless the file is here."""
        from napari_sam3d.engine.weights import weights_path

        spec = model_spec(self.name)
        with DownloadBar(spec.name, quiet=False) as bar:
            path = weights_path(spec, bar)
        print(f"{spec.name}: {path}, {path.stat().st_size / MEGABYTE:.1f} MB")


def report(kept: Kept) -> None:
    """Say where weights were written, and of which file they are."""
    before, after = (f"{size / MEGABYTE:.1f} MB" for size in (kept.before, kept.after))
    print(f"{kept.path}: {before} before, {after} now")
    print(f"SHA-256 of the file: {kept.sha256}")

"""The command line: `napari-sam3d COMMAND`, where each command is a dataclass with `run()`.

`run` returns nothing, or the number of cases that failed where others went on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

from napari_sam3d.cli.adapters import Adapters
from napari_sam3d.cli.batch import Batch
from napari_sam3d.cli.demo import Demo
from napari_sam3d.cli.evaluate import Evaluate
from napari_sam3d.cli.models import Models
from napari_sam3d.cli.segment import Segment
from napari_sam3d.cli.split import Split
from napari_sam3d.cli.train import Train

SOME_FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    args
        The words after the program's name; those of the process when None.

    Returns
    -------
    int
        0 when done, 1 when some of several cases failed, which are told by name, 2 for wrong input
        (one sentence on stderr says which), 130 after Ctrl+C.
    """
    try:
        command = tyro.cli(
            Segment | Batch | Train | Evaluate | Models | Adapters | Split | Demo,
            prog="napari-sam3d",
            description="Segment 3D images from a few points; `COMMAND --help` tells more.",
            args=args,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        failed = command.run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        print(_sentence(error), file=sys.stderr)
        return WRONG_INPUT
    return SOME_FAILED if failed else 0


def _sentence(error: Exception) -> str:
    """What went wrong on one line, without Python's error numbers."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__

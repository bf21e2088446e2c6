"""`napari-sam3d train`: labelled NIfTI images become an adapter that segments more like them."""

from __future__ import annotations

import signal
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from napari_sam3d.cli.progress import DownloadBar
from napari_sam3d.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from napari_sam3d.engine.training import Event, RunFolder
    from napari_sam3d.labelled import Labelled, Pair


@dataclass(frozen=True, kw_only=True)
class Train:
    """Tune a model on a few labelled volumes.

    Some are held out to tell whether it helps: a fifth of three or more volumes, else some slices.
    When it helps, the adapter is there at once:

    napari-sam3d train --pairs scans --name femur

    napari-sam3d segment next.nii.gz --adapter femur --point 120,88,40

    Ctrl+C saves and stops; the run goes on where it was, also with more steps:

    napari-sam3d train --pairs scans --name femur --resume

    napari-sam3d train --pairs scans --name femur --resume --steps 1000

    What is wrong is told before it starts, and --fix mends most of it:

    napari-sam3d train --pairs scans --name femur --check
    """

    pairs: Annotated[Path, arg(metavar="DIR")]
    """Folder with imagesTr and labelsTr, or with pairs such as x.nii.gz and x_seg.nii.gz."""
    name: str
    """What the adapter will be called."""
    resume: bool = False
    """Go on with the run of this name; of the settings only --steps counts then."""
    check: bool = False
    """Tell what is right and wrong, how long it takes and how much memory, and do not tune."""
    fix: bool = False
    """Resample labels that lie elsewhere, and leave out what cannot be used."""
    quiet: bool = False
    """No progress bar, and nothing but the verdict."""
    settings: OmitArgPrefixes[TrainSettings] = field(default_factory=TrainSettings)

    def run(self) -> None:
        """Read the pairs and tune; ValueError when it failed on the way."""
        from napari_sam3d.engine.training.ranks import follows

        if follows():
            self._follow()
            return
        from napari_sam3d.cli.preparing import prepared, rehearsed
        from napari_sam3d.engine.training import RunFolder
        from napari_sam3d.io.pairs import find_pairs, read_pair

        folder = RunFolder.called(self.name)
        settings = self._settings(folder)
        pairs = [read_pair(files) for files in find_pairs(self.pairs)]
        name = None if self.resume else self.name
        cases = prepared(settings, pairs, name, fix=self.fix, table=self.check, quiet=self.quiet)
        if self.check:
            with DownloadBar(settings.model, self.quiet) as bar:
                rehearsed(settings, cases, bar)
            return
        with closing(self._events(settings, cases, folder)) as events, interrupts() as asked:
            show(events, settings, folder, self.quiet, asked)
            stopped = asked()
        if stopped:
            if not self.quiet:
                print("Saved; --resume goes on from there.", file=sys.stderr)
            raise KeyboardInterrupt

    def _follow(self) -> None:
        """What all processes but the first do, where torchrun has started several."""
        from napari_sam3d.engine.training.following import follow
        from napari_sam3d.engine.training.preflight import labelled, mend_all
        from napari_sam3d.io.pairs import find_pairs, read_pair

        def read() -> Sequence[Labelled]:
            pairs: Sequence[Pair] = [read_pair(files) for files in find_pairs(self.pairs)]
            return labelled(mend_all(pairs)[0] if self.fix else pairs)

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one decides
        follow(read)

    def _settings(self, folder: RunFolder) -> TrainSettings:
        """Those of the command line, or of the run that goes on."""
        from napari_sam3d.engine.training.runs import check_free, resumed_settings

        if not self.resume:
            check_free(folder.name)
            return self.settings
        before = resumed_settings(self.name)
        return replace(before, steps=self.settings.steps or before.steps)

    def _events(
        self, settings: TrainSettings, cases: Sequence[Labelled], folder: RunFolder
    ) -> Generator[Event, None, None]:
        from napari_sam3d.engine.training import load_base, train

        with DownloadBar(settings.model, self.quiet) as bar:
            yield from train(
                settings,
                cases,
                folder,
                resume=self.resume,
                load=lambda wanted: load_base(wanted, bar),
            )


def show(
    events: Iterator[Event],
    settings: TrainSettings,
    folder: RunFolder,
    quiet: bool,
    asked: Callable[[], bool],
) -> None:
    """Draw the progress of a training; ValueError with its sentence when it failed.

    Parameters
    ----------
    events
        Of the training.
    settings
        Of the run.
    folder
        Where its files go.
    quiet
        Say nothing but the verdict.
    asked
        Whether to stop after the event that has come.
    """
    from tqdm import tqdm

    from napari_sam3d.engine import training as it

    def say(text: str) -> None:
        if not quiet:
            tqdm.write(text, file=sys.stderr)

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=settings.total, leave=False, disable=hidden, file=sys.stderr) as bar:
        bar.set_description(f"Tuning {settings.model}")
        smooth, clicks, after = None, "", ""
        for event in events:
            match event:
                case it.Started():
                    bar.update(event.step)
                    clicks = " / ".join(map(str, filter(None, event.counted)))
                    after = f"after {clicks} clicks " if clicks else ""
                    say(
                        f"{event.tuned / 1e6:.2f} million numbers are tuned on "
                        f"{', '.join(event.cases)}; held out: {', '.join(event.held_out)}"
                    )
                case it.Step():
                    bar.update()
                    smooth = event.loss if smooth is None else 0.9 * smooth + 0.1 * event.loss
                    bar.set_postfix_str(f"loss {smooth:.3f}")
                case it.Looking():
                    what = "object" if clicks else "slice"
                    bar.set_postfix_str(f"looking at held-out {what} {event.done}/{event.total}")
                case it.Validated():
                    dice = " / ".join(f"{value:.3f}" for value in event.dice)
                    say(f"Step {event.step}: Dice {after}{dice}")
                case it.Warned():
                    say(event.sentence)
                case it.Finished():
                    print(event.verdict)
                    if event.adapter is not None:
                        print(f"Adapter: {event.adapter}")
                    print(f"Run: {folder.path}")
                case it.Failed():
                    kept = f" The best so far is {event.adapter}." if event.adapter else ""
                    raise ValueError(f"{event.sentence}{kept}")
            if asked():
                return


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl+C was pressed; the second time it interrupts as ever."""
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)

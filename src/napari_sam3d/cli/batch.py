"""`napari-sam3d batch`: a folder of NIfTI images becomes a folder of label maps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.progress import DownloadBar
from napari_sam3d.cli.tables import print_table
from napari_sam3d.cli.writable import check_folder
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari_sam3d.engine.batch.outcome import Outcome
    from napari_sam3d.engine.batch.planning import Plan
    from napari_sam3d.engine.batch.running import Event


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Segment many NIfTI images, in one process, in several, or on a cluster.

    What the Segment dock saved beside each image as IMAGE_prompts.json says where the objects
    are; --prompts names another folder of such files, or one file for all images. Models that
    find their classes by themselves take no prompt, and an adapter proposes where it can.

    napari-sam3d batch scans -o masks

    napari-sam3d batch scans -o masks --prompts clicks --workers 4

    napari-sam3d batch scans -o masks --model ma_sam_btcv

    napari-sam3d batch scans -o masks --adapter femur --scheduler tcp://10.0.0.7:8786

    Each mask is written as soon as it is done. After Ctrl+C, or whatever else has stopped it, the
    same command goes on where it was. A case whose process died is done once more; a case that
    fails is told at the end, and the others go on.
    """

    images: Positional[tuple[Path, ...]]
    """Folder of NIfTI images, or several images."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")]
    """Folder for the masks, IMAGE_seg.nii.gz each."""
    prompts: Annotated[Path | None, arg(metavar="DIR|FILE")] = None
    """Folder with IMAGE_prompts.json or IMAGE.json for each image, or one file for all."""
    workers: int = 1
    """Processes on this machine, which share its cores, and its GPUs where there are several."""
    threads: int = 0
    """Cores for each process; 0 shares all of them out. Another number rounds otherwise, so that
    masks can differ by a few voxels."""
    scheduler: Annotated[str, arg(metavar="tcp://HOST:PORT")] = ""
    """Use the workers of this scheduler of dask's, which see the same folders."""
    overwrite: bool = False
    """Do everything anew, and replace masks that are there."""
    json: bool = False
    """Print one JSON object on stdout instead of sentences, and no progress bar."""
    settings: OmitArgPrefixes[InferenceSettings] = field(default_factory=InferenceSettings)

    def run(self) -> int:
        """Segment and report; how many cases failed. All that can be wrong is checked first."""
        model_spec(self.settings.model)
        if self.workers < 1:
            raise ValueError(f"--workers is {self.workers}; it must be 1 or more.")
        if self.threads < 0:
            raise ValueError(f"--threads is {self.threads}; it must be 1 or more, or 0.")
        if self.scheduler and (self.workers > 1 or self.threads):
            raise ValueError(
                "Give --scheduler without --workers and --threads; a cluster has its own workers."
            )
        from napari_sam3d.engine.batch.ledger import Ledger
        from napari_sam3d.engine.batch.planning import plan
        from napari_sam3d.engine.batch.running import run

        what = plan(self.images, self.output, self.prompts, self.settings)
        new = not self.output.exists()
        if new:
            check_folder(self.output.absolute().parent)
            self.output.mkdir()
        check_folder(self.output)
        for image in () if self.json else what.left_out:
            print(f"No prompts for {image.name}: it is left out.", file=sys.stderr)
        if not self.scheduler:
            self._fetch()
        ledger = Ledger(self.output.resolve())
        told = _Told()
        events = run(
            what, ledger, self.workers, self.scheduler, self.overwrite, threads=self.threads
        )
        try:
            with closing(events):
                self._show(events, told)
        finally:
            if told.begun:
                self._report(what, told)
        return len(told.failed)

    def _fetch(self) -> None:
        """Get the weights before several processes want them, and ask for the device."""
        from napari_sam3d.engine.devices import choose_device
        from napari_sam3d.engine.weights import weights_path

        choose_device(self.settings.device)
        with DownloadBar(self.settings.model, self.json) as bar:
            weights_path(model_spec(self.settings.model), bar)

    def _show(self, events: Iterator[Event], told: _Told) -> None:
        """Draw a bar with the time left, and gather what comes of each case."""
        from tqdm import tqdm

        from napari_sam3d.engine.batch import running as it

        def say(text: str) -> None:
            if not self.json:
                tqdm.write(text, file=sys.stderr)

        hidden = self.json or not sys.stderr.isatty()
        with tqdm(leave=False, disable=hidden, file=sys.stderr, unit="case") as bar:
            for event in events:
                match event:
                    case it.Started():
                        told.begun = True
                        bar.reset(event.total)
                        bar.initial = bar.n = event.known  # they say nothing of what is left
                        bar.refresh()
                        if event.known:
                            say(f"{event.known} of {event.total} cases were done before.")
                    case it.CaseDone(outcome, known):
                        told.done.append(outcome)
                        told.known += known
                        bar.update(not known)
                    case it.CaseFailed(outcome):
                        told.failed.append(outcome)
                        bar.update()
                        say(f"{outcome.case}: {outcome.error}")
                    case it.WorkerLost():
                        say(f"{event.worker} died of {event.case}, which is done once more.")
                    case it.Finished():
                        told.seconds = event.seconds

    def _report(self, what: Plan, told: _Told) -> None:
        total = len(what.tasks)
        left = total - len(told.done) - len(told.failed)
        if self.json:
            report = {
                "model": self.settings.model,
                "adapter": self.settings.adapter or None,
                "output": str(self.output),
                "cases": [
                    {**asdict(outcome), "known": number < told.known}
                    for number, outcome in enumerate((*told.done, *told.failed))
                ],
                "left_out": [str(path) for path in what.left_out],
                "unfinished": left,
                "seconds": round(told.seconds, 3),
            }
            print(json.dumps(report))
            return
        if told.failed:
            print_table([("case", "why it failed"), *((it.case, it.error) for it in told.failed)])
            print()
        before = f", {told.known} of them before" if told.known else ""
        time = f" in {told.seconds:.1f} s" if told.seconds else ""
        failed = f", {len(told.failed)} failed" if told.failed else ""
        print(f"{len(told.done)} of {total} cases are done{time}{before}{failed}.")
        if left:
            print(f"{left} are left; the same command goes on.")
        print(f"Masks: {self.output}")


@dataclass
class _Told:
    """What the events have told so far."""

    begun: bool = False
    done: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    known: int = 0
    seconds: float = 0.0

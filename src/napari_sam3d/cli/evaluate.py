"""`napari-sam3d evaluate`: how well a model does on labelled images, by a known protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, arg

from napari_sam3d.cli.progress import DownloadBar
from napari_sam3d.settings import EvaluationSettings, InferenceSettings

if TYPE_CHECKING:
    from napari_sam3d.engine.evaluation.evaluating import Looking, Scored
    from napari_sam3d.engine.evaluation.results import CaseScores
    from napari_sam3d.engine.evaluation.results_folder import ResultsFolder
    from napari_sam3d.engine.prediction import Predictor
    from napari_sam3d.io.datasets import CaseFiles


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Tell how well a model does on labelled images.

    A protocol says how the model is prompted and how its masks are judged, so that figures can be
    held against those of others:
    - cvpr25: the CVPR 2025 challenge; a box, then five clicks deep in the largest error
    - sam-med3d: ten clicks anywhere in the error, on a crop of 1.5 mm voxels about the object
    - 3dsam-adapter: 1, 3 and 10 points anywhere in the object, all at once
    - ma-sam: without a prompt where the model needs none, else a tight and a relaxed box

    napari-sam3d evaluate --pairs scans --protocol cvpr25

    napari-sam3d evaluate --pairs scans --adapter femur --protocol sam-med3d -o femur_scores

    napari-sam3d evaluate --pairs KiTS --split kits.json --protocol 3dsam-adapter --labels 2

    Scores of each case are kept at once in the folder of results: an evaluation that was stopped
    goes on where it was. A case that fails is told, and the others go on.
    """

    pairs: Annotated[Path, arg(metavar="DIR")]
    """Folder with imagesTr and labelsTr, pairs such as x.nii.gz and x_seg.nii.gz, or the
    challenge's npz."""
    truth: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder with the labels of npz files, where they are apart."""
    split: Annotated[Path | None, arg(metavar="FILE")] = None
    """Which cases: split.json, or the split.pkl of the 3DSAM-adapter repository."""
    fold: int = 0
    """Fold of the split, counted from 0."""
    part: str = "test"
    """Part of the fold: train, val or test."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="DIR")] = None
    """Folder of the results; evaluation_PROTOCOL_MODEL in the current folder when not given."""
    overwrite: bool = False
    """Throw away what is in the folder of results from an earlier evaluation."""
    quiet: bool = False
    """No progress bar, and nothing but the table."""
    protocol_settings: OmitArgPrefixes[EvaluationSettings] = field(
        default_factory=EvaluationSettings
    )
    settings: OmitArgPrefixes[InferenceSettings] = field(default_factory=InferenceSettings)

    def run(self) -> int:
        """Evaluate, print the table and write the results; how many cases failed."""
        from napari_sam3d.engine.evaluation.evaluating import evaluate
        from napari_sam3d.engine.evaluation.results_folder import ResultsFolder
        from napari_sam3d.engine.predictor import load_predictor
        from napari_sam3d.io.datasets import find_cases

        wanted = self.protocol_settings
        cases = find_cases(
            self.pairs, split=self.split, fold=self.fold, part=self.part, labels_folder=self.truth
        )
        tuned = f"_{Path(self.settings.adapter).stem}" if self.settings.adapter else ""
        named = f"evaluation_{wanted.protocol}_{self.settings.model}{tuned}"
        folder = ResultsFolder(self.output or Path(named))
        with DownloadBar(self.settings.model, self.quiet) as bar:
            predictor = load_predictor(self.settings, bar)
        if self.overwrite:
            folder.clear()
        folder.begin(self._config(predictor))
        done: list[CaseScores] = []
        try:
            with closing(evaluate(predictor, cases, wanted, folder)) as events:
                self._show(events, cases, done)
        finally:
            if done:
                print(self._report(folder, done, len(cases)))
        return sum(bool(it.error) for it in done)

    def _config(self, predictor: Predictor) -> Mapping[str, Any]:
        """All that the scores depend on."""
        from napari_sam3d.engine.adapters import base_sum
        from napari_sam3d.engine.places import adapter_path
        from napari_sam3d.engine.weights import file_sum

        adapter = self.settings.adapter
        return {
            **asdict(self.protocol_settings),
            **asdict(self.settings),
            "adapter": Path(adapter).stem,
            "device": predictor.device.type,
            "precision": str(predictor.precision),
            "weights": base_sum(predictor.spec),
            "tuned weights": file_sum(adapter_path(adapter)) if adapter else "",
        }

    def _show(
        self, events: Iterator[Looking | Scored], cases: Sequence[CaseFiles], done: list[CaseScores]
    ) -> None:
        """Draw a bar with the time left, and gather the scores as they come."""
        from tqdm import tqdm

        from napari_sam3d.engine.evaluation.evaluating import Scored

        hidden = self.quiet or not sys.stderr.isatty()
        with tqdm(
            total=len(cases), leave=False, disable=hidden, file=sys.stderr, unit="case"
        ) as bar:
            bar.bar_format = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]"
            begun = 0
            for event in events:
                if not isinstance(event, Scored):
                    bar.set_description(event.case, refresh=False)
                    bar.set_postfix_str(event.what, refresh=False)
                    bar.update(len(done) + event.share - bar.n)
                    continue
                done.append(event.scores)
                if event.known:  # which took no time, and says nothing of what is left
                    begun += 1
                    bar.initial = begun
                bar.update(len(done) - bar.n)
                if event.scores.error and not self.quiet:
                    tqdm.write(f"{event.scores.case}: {event.scores.error}", file=sys.stderr)

    def _report(self, folder: ResultsFolder, done: Sequence[CaseScores], wanted: int) -> str:
        """Write what the scores make, and the text to print."""
        from napari_sam3d.engine.evaluation.protocols import tolerance
        from napari_sam3d.engine.evaluation.summary import summarise
        from napari_sam3d.engine.evaluation.table import table

        settings = self.protocol_settings
        summary = summarise(settings.protocol, tolerance(settings), done)
        tuned = f" tuned as {Path(self.settings.adapter).stem}" if self.settings.adapter else ""
        title = (
            f"{self.settings.model}{tuned} by {settings.protocol} on {self.pairs.resolve().name}"
        )
        folder.write_summary(summary, done, title)
        left = wanted - len(done)
        cases = "1 case" if left == 1 else f"{left} cases"
        stopped = f"\nStopped with {cases} left; the same command goes on." if left else ""
        return f"{title}\n\n{table(summary)}\n\nResults: {folder.path}{stopped}"

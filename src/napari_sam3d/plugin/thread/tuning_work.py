"""What a Train dock has done in the thread: reading pairs, checks, a rehearsal, a training."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from napari_sam3d.io.pairs import read_steps
from napari_sam3d.plugin.thread.importing import collector_resting, import_engine
from napari_sam3d.plugin.thread.jobs import sentence
from napari_sam3d.plugin.thread.loading import needs_download, reports
from napari_sam3d.plugin.thread.work import Elsewhere, Steps

if TYPE_CHECKING:
    from napari_sam3d.engine.fetch import Progress
    from napari_sam3d.engine.training import Base
    from napari_sam3d.labelled import Pair, PairFiles
    from napari_sam3d.settings import TrainSettings

    LoadBase = Callable[[TrainSettings, Progress], Base]

T = TypeVar("T")
Tell = Callable[..., None]
"""Name of a signal of the `Trainer`, and its values."""


def load_base(settings: TrainSettings, progress: Progress) -> Base:
    """The engine's own, imported when it is first needed."""
    from napari_sam3d.engine.training import load_base

    return load_base(settings, progress)


def reading(files: Sequence[PairFiles], tell: Tell) -> Steps:
    """Read pairs of files; a turn for each piece of them. One that is bad stops no other."""
    pairs, failures = [], []
    for number, it in enumerate(files):
        try:
            pairs.append((yield from _shares(read_steps(it), tell, number, len(files))))
        except (ValueError, OSError) as error:
            failures.append(sentence(error, "reading"))
    if pairs:
        tell("read", tuple(pairs))
    if failures:
        raise ValueError(" ".join(failures))


def checking(settings: TrainSettings, pairs: Sequence[Pair], name: str, tell: Tell) -> Steps:
    """All checks of what is to be learned from; a turn for each."""
    from napari_sam3d.engine.training.preflight import preflight

    checks = []
    for check in preflight(settings, pairs, name):
        checks.append(check)
        yield None
    tell("checked", tuple(checks))


def rehearsing(
    settings: TrainSettings,
    pairs: Sequence[Pair],
    load: LoadBase,
    tell: Tell,
    wanted: Callable[[], bool],
) -> Steps:
    """A few real steps, to tell how long all of them take."""
    yield from _import_training()
    from napari_sam3d.engine.training.preflight import labelled
    from napari_sam3d.engine.training.rehearsal import rehearse

    cases, progress = labelled(pairs), _progress(tell, wanted)
    if needs_download(settings):
        yield Elsewhere(lambda: load(settings, progress))
    # loaded anew, to measure what it takes
    steps = rehearse(settings, cases, lambda it: load(it, progress))
    tell("rehearsed", (yield from _shares(steps, tell)))


def training(
    settings: TrainSettings,
    pairs: Sequence[Pair],
    name: str,
    resume: bool,
    load: LoadBase,
    tell: Tell,
    wanted: Callable[[], bool],
) -> Steps:
    """Tune a model; a turn for each event, and saved when it is closed."""
    yield from _import_training()
    from napari_sam3d.engine.training import RunFolder, train
    from napari_sam3d.engine.training.preflight import labelled
    from napari_sam3d.plugin.thread.thinning import Thinned

    folder, cases = RunFolder.called(name), labelled(pairs)
    progress = _progress(tell, wanted)
    base = yield Elsewhere(lambda: load(settings, progress))  # one that no click ever meets
    heard = Thinned(lambda event: tell("event", event))
    with closing(train(settings, cases, folder, resume=resume, load=lambda _: base)) as events:
        try:
            for event in events:
                heard(event)
                yield None
        finally:
            heard.flush()


def _shares(
    steps: Generator[float, None, T], tell: Tell, before: int = 0, count: int = 1
) -> Generator[None, None, T]:
    """A turn for each step of one of several, and how far they are; returns what they return."""
    with closing(steps):
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                return end.value
            tell("progressed", (before + share) / count)
            yield None


def _import_training() -> Steps:
    """What a training needs beside torch takes seconds, in which clicks are answered."""
    import_engine()
    yield None
    yield Elsewhere(_import_rest)


def _import_rest() -> None:
    with collector_resting():
        import napari_sam3d.engine.training.loop  # noqa: F401
        from napari_sam3d.engine.training.rounds import mask_loss

        mask_loss()


def _progress(tell: Tell, wanted: Callable[[], bool]) -> Progress:
    return reports(lambda *values: tell("downloading", *values), wanted)

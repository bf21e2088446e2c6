"""What a Train dock has done in the thread: reading pairs, checks, a rehearsal, a training."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_sam3d.plugin.thread.importing import collector_resting, import_engine
from napari_sam3d.plugin.thread.loading import reports
from napari_sam3d.plugin.thread.work import Elsewhere, Steps

if TYPE_CHECKING:
    from napari_sam3d.engine.fetch import Progress
    from napari_sam3d.engine.training import Base
    from napari_sam3d.io.pairs import PairFiles
    from napari_sam3d.settings import TrainSettings

    LoadBase = Callable[[TrainSettings, Progress], Base]

Tell = Callable[..., None]
"""Name of a signal of the `Trainer`, and its values."""


def load_base(settings: TrainSettings, progress: Progress) -> Base:
    """The engine's own, imported when it is first needed."""
    from napari_sam3d.engine.training import load_base

    return load_base(settings, progress)


def reading(files: Sequence[PairFiles], tell: Tell) -> Steps:
    """Read pairs of files; a turn for each piece of them."""
    read_pair = import_module("napari_sam3d.io.pairs").read_steps
    pairs = []
    for number, it in enumerate(files):
        with closing(read_pair(it)) as steps:
            while True:
                try:
                    share = next(steps)
                except StopIteration as end:
                    pairs.append(end.value)
                    break
                tell("progressed", (number + share) / len(files))
                yield None
    tell("read", tuple(pairs))


def checking(settings: TrainSettings, pairs: Sequence[Any], name: str, tell: Tell) -> Steps:
    """All checks of what is to be learned from; a turn for each."""
    yield from _import_training()
    preflight = import_module("napari_sam3d.engine.training.preflight").preflight
    checks = []
    for check in preflight(settings, pairs, name):
        checks.append(check)
        yield None
    tell("checked", tuple(checks))


def rehearsing(
    settings: TrainSettings,
    pairs: Sequence[Any],
    load: LoadBase,
    tell: Tell,
    wanted: Callable[[], bool],
) -> Steps:
    """A few real steps, to tell how long all of them take."""
    yield from _import_training()
    labelled = import_module("napari_sam3d.engine.training.preflight").labelled
    rehearse = import_module("napari_sam3d.engine.training.rehearsal").rehearse
    cases = labelled(pairs)
    base = yield from _base(settings, load, tell, wanted)
    with closing(rehearse(settings, cases, lambda _: base)) as steps:
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                tell("rehearsed", end.value)
                return
            tell("progressed", share)
            yield None


def training(
    settings: TrainSettings,
    pairs: Sequence[Any],
    name: str,
    resume: bool,
    load: LoadBase,
    tell: Tell,
    wanted: Callable[[], bool],
) -> Steps:
    """Tune a model; a turn for each event, and saved when it is closed."""
    yield from _import_training()
    from napari_sam3d.engine.training import RunFolder, train
    from napari_sam3d.plugin.thread.thinning import Thinned

    labelled = import_module("napari_sam3d.engine.training.preflight").labelled
    folder, cases = RunFolder.called(name), labelled(pairs)
    base = yield from _base(settings, load, tell, wanted)
    heard = Thinned(lambda event: tell("event", event))
    with closing(train(settings, cases, folder, resume=resume, load=lambda _: base)) as events:
        try:
            for event in events:
                heard(event)
                yield None
        finally:
            heard.flush()


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


def _base(
    settings: TrainSettings, load: LoadBase, tell: Tell, wanted: Callable[[], bool]
) -> Generator[Elsewhere, Base, Base]:
    """The network to be tuned: one of its own, which no click ever meets."""
    progress = reports(lambda *values: tell("downloading", *values), wanted)
    return (yield Elsewhere(lambda: load(settings, progress)))

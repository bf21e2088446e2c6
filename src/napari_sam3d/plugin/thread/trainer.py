"""A Train dock's end of the thread: readings, checks and trainings go in, signals come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal

from napari_sam3d.plugin.thread import tuning_work
from napari_sam3d.plugin.thread.loading import load_predictor
from napari_sam3d.plugin.thread.shared_thread import SharedThread
from napari_sam3d.plugin.thread.work import Steps, Work

if TYPE_CHECKING:
    from napari_sam3d.engine.training import Event
    from napari_sam3d.labelled import Pair, PairFiles
    from napari_sam3d.plugin.thread.loading import Load
    from napari_sam3d.plugin.thread.tuning_work import LoadBase, Tell
    from napari_sam3d.settings import TrainSettings

_STATES = {
    "training": "running",
    "rehearsal": "rehearsing",
    "check": "checking",
    "reading": "reading",
}
"""What is under way, and the state that it makes; the first that there is counts."""
_LAST_WAIT_S = 10
_newest: tuple[str, Work] | None = None
"""The newest training of the program, with its name."""


class Trainer(QObject):
    """Has things done in the one shared thread, where clicks go first, and tells how they go.

    All signals come on the thread that made it. Of readings, checks and rehearsals only the newest
    counts; an older one is given up. There is one training at a time in the program.

    Parameters
    ----------
    load
        Brings the network to be tuned, and tells how far a download is; called in a thread.
    shares
        What the Segment docks load predictors with: docks with the same one share the thread.
    """

    event = Signal(object)
    """An engine `Event`; of steps that come fast, about ten a second."""
    checked = Signal(object)
    """All checks (tuple of `Check`) of the newest check."""
    read = Signal(object)
    """What was read (tuple of `Pair`) of the newest files."""
    rehearsed = Signal(object)
    """The `Rehearsal`."""
    progressed = Signal(float)
    """The share of a reading or a rehearsal that is done, 0 to 1."""
    downloading = Signal(object, object)
    """Bytes done, bytes in all: weights are on their way; 0 in all when unknown."""
    failed = Signal(str)
    """One sentence: what was asked for cannot be done; a run that fails later is an event."""
    state_changed = Signal(str)
    """idle, reading, checking, rehearsing, downloading, running or stopping."""
    _reported = Signal(object, str, tuple)

    def __init__(
        self,
        load: LoadBase | None = None,
        shares: Load | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.name = ""
        """Of the run that is under way, or was the last."""
        self.events: list[Event] = []
        """What was heard of it, for a dock that opens later."""
        self.state = "idle"
        self._load = load or tuning_work.load_base
        self._shares = shares or load_predictor
        self._works: dict[str, tuple[Work, SharedThread]] = {}
        self._downloads = False
        # queued by name: the thread must never run a slot of the user interface itself
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def trains(self) -> bool:
        """Whether a training is under way, from `start` until it is saved."""
        return "training" in self._works

    @property
    def progress(self) -> tuple[int, int]:
        """Steps done, and steps in all; 0 while they are not known."""
        steps = max((getattr(it, "steps", 0) for it in self.events), default=0)
        return max((getattr(it, "step", 0) for it in self.events), default=0), steps

    def read_files(self, files: Sequence[PairFiles]) -> None:
        """Read images and their labels; `read` follows with those that can be, and `failed`."""
        self._begin("reading", lambda tell, _: tuning_work.reading(tuple(files), tell))

    def check(self, settings: TrainSettings, pairs: Sequence[Pair], name: str) -> None:
        """Look for what is wrong before it is trained with; `checked` or `failed` follows."""
        given = tuple(pairs)
        self._begin("check", lambda tell, _: tuning_work.checking(settings, given, name, tell))

    def rehearse(self, settings: TrainSettings, pairs: Sequence[Pair]) -> None:
        """Find out how long it takes; `rehearsed` or `failed` follows."""
        given = tuple(pairs)
        self._begin(
            "rehearsal",
            lambda tell, wanted: tuning_work.rehearsing(settings, given, self._load, tell, wanted),
        )

    def start(
        self, settings: TrainSettings, pairs: Sequence[Pair], name: str, resume: bool = False
    ) -> None:
        """Begin a training, or go on with one; events or `failed` follow.

        What else is under way is given up.
        """
        global _newest
        if _newest is not None and not _newest[1].over.is_set():
            self.failed.emit(
                f"The training {_newest[0]} is under way; wait for its end, or stop it."
            )
            return
        self.stop()
        self.name, self.events = name, []
        given, load = tuple(pairs), self._load
        work = self._begin(
            "training",
            lambda tell, wanted: tuning_work.training(
                settings, given, name, resume, load, tell, wanted
            ),
        )
        _newest = name, work

    def stop(self) -> None:
        """Save the training and end it: "idle" when that is done. All else is given up at once."""
        for kind, (work, thread) in tuple(self._works.items()):
            if kind == "training":
                thread.stop(work)
            else:
                self._give_up(kind)
        self._look()

    def close(self) -> None:
        """Stop, and wait for it, at most 10 s."""
        works = tuple(self._works.values())
        self.stop()
        for work, _ in works:
            work.over.wait(_LAST_WAIT_S)

    def _begin(self, kind: str, make: Callable[[Tell, Callable[[], bool]], Steps]) -> Work:
        self._give_up(kind)
        steps = make(lambda *told: self._tell(work, *told), lambda: not work.stopped)
        work = Work(kind, steps, lambda failure: self._end(work, failure))
        self._works[kind] = work, SharedThread.begin(self._shares, work)
        self._look()
        return work

    def _give_up(self, kind: str) -> None:
        """Hear nothing more of it."""
        if kind in self._works:
            work, thread = self._works.pop(kind)
            thread.stop(work)

    def _end(self, work: Work, failure: str) -> None:
        """In the thread: it is over."""
        self._tell(work, "ended", failure)

    def _tell(self, work: Work, signal: str, *values: object) -> None:
        try:
            self._reported.emit(work, signal, values)
        except RuntimeError:  # Qt has deleted this object: nobody is left to hear
            work.stopped = True

    def _deliver(self, work: Work, signal: str, values: tuple) -> None:
        """On the thread of the user interface."""
        current, _ = self._works.get(work.name, (None, None))
        if current is not work:
            return
        self._downloads = signal == "downloading" and not 0 < values[1] <= values[0]
        if signal == "ended":
            del self._works[work.name]
        elif signal == "event":
            self._keep(*values)
        self._look()
        if signal != "ended":
            getattr(self, signal).emit(*values)
        elif values[0]:
            self.failed.emit(*values)

    def _keep(self, event: Event) -> None:
        if self.events and type(event) is type(self.events[-1]) and hasattr(event, "done"):
            self.events.pop()  # of a look the newest tidings are enough
        self.events.append(event)

    def _look(self) -> None:
        """Say in which state it is, when that is another one."""
        training = self._works.get("training")
        if training is not None and training[0].stopped:
            state = "stopping"
        elif self._downloads and self._works:
            state = "downloading"
        else:
            state = next((state for kind, state in _STATES.items() if kind in self._works), "idle")
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

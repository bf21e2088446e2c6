"""The one long-lived thread that loads models, predicts and trains, for all docks."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_sam3d.plugin.thread.jobs import Job, Seat, answer, answer_without_model, sentence
from napari_sam3d.plugin.thread.predictors import Predictors
from napari_sam3d.plugin.thread.work import Work

if TYPE_CHECKING:
    from napari_sam3d.plugin.thread.loading import Load

_THREADS: dict[Load, SharedThread] = {}
_COMING_AND_GOING = threading.Lock()
_RUNNING: set[SharedThread] = set()
_LAST_WAIT_S = 10
"""For a model that is being loaded, or a prediction to notice that nobody wants it."""


class SharedThread:
    """Serves the docks in turn, each with its newest job; ends when the last one leaves.

    Long work, such as a training, is done between the jobs, a bit at a time: clicks go first.

    One thread does all the work because cuDNN keeps its plans per thread: a thread per prediction
    would plan anew each time.

    Parameters
    ----------
    load
        Returns the predictor for some settings; docks with the same one share the thread.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._seats: list[Seat] = []
        self._works: list[Work] = []
        self._served: Seat | None = None
        self._wake = threading.Condition()
        self._predictors = Predictors(load, lambda: tuple(self._seats), self._notify)
        self._thread = threading.Thread(target=self._run, name="napari-sam3d", daemon=True)

    @classmethod
    def join(cls, load: Load, seat: Seat) -> SharedThread:
        """The thread of all who load like this, made for the first of them."""
        return cls._enter(load, lambda it: it._seats.append(seat))

    @classmethod
    def begin(cls, load: Load, work: Work) -> SharedThread:
        """Have this done in the same thread, between the jobs, until it is over."""
        return cls._enter(load, lambda it: it._works.append(work))

    @classmethod
    def _enter(cls, load: Load, enter: Callable[[SharedThread], None]) -> SharedThread:
        with _COMING_AND_GOING:
            it = _THREADS.setdefault(load, cls(load))
            with it._wake:
                enter(it)
                it._wake.notify_all()
            if not it._thread.is_alive():
                _RUNNING.add(it)
                it._thread.start()
        return it

    def stop(self, work: Work) -> None:
        """Have a work closed before its next bit; does not wait."""
        with self._wake:
            work.stopped = True
            self._wake.notify_all()

    def leave(self, seat: Seat) -> None:
        """End what is under way for a dock, and the thread with the last one; does not wait."""
        with _COMING_AND_GOING, self._wake:
            seat.left = True
            if seat in self._seats:
                self._seats.remove(seat)
                self._close_when_empty()
            self._wake.notify_all()

    def put(self, seat: Seat, job: Job) -> None:
        """Do this next for a dock, in place of what it asked before."""
        with self._wake:
            seat.put(job)
            self._wake.notify_all()
        if self._predictors.is_coming(job.settings):  # it will be told of again as bytes arrive
            seat.tell("loading", job.number, job.settings.model)

    def cancel(self, seat: Seat, newest: int) -> None:
        """Give up what is under way for a dock; it hears nothing more up to this number."""
        with self._wake:
            seat.clear(newest)
            self._wake.notify_all()

    def forget(self) -> None:
        """Load models anew when they are next used: a file was replaced."""
        self._predictors.stale = True

    def is_busy_elsewhere(self, seat: Seat) -> bool:
        """Whether another dock is being served."""
        return self._served not in (None, seat)

    def wait(self, seat: Seat, timeout_s: float) -> bool:
        """Wait until a dock that left is not served any more; whether that came about.

        For the last dock this is the end of the thread.
        """
        with self._wake:
            free = self._wake.wait_for(lambda: self._served is not seat, timeout_s)
            others = bool(self._seats or self._works)
        if not others:
            self._thread.join(timeout_s)
        return free and (others or not self._thread.is_alive())

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _close_when_empty(self) -> None:
        """Whoever comes after the last one has left gets a new thread; with both locks."""
        if not self._seats and not self._works:
            del _THREADS[self._load]

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            if isinstance(turn, Work):
                self._advance(turn)
                del turn
                continue
            seat, job = turn
            try:
                predictor = None if job.recut else self._predictors.get(job.settings)
                if job.recut:
                    answer_without_model(job, seat)
                elif predictor is None:
                    self._put_back(seat, job)
                elif not seat.obsolete(job):
                    answer(predictor, job, seat)
            except Exception as error:
                # a cancelled request ends in `Cancelled`, or in whatever broke on the way out
                if not seat.obsolete(job):
                    seat.tell("failed", job.number, sentence(error))
            predictor = None
            del turn, seat, job  # else the last volume stays in memory while the thread waits
        self._predictors.clear()  # the dock may be remembered for long
        _RUNNING.discard(self)

    def _advance(self, work: Work) -> None:
        """Do a bit of it; behind all others for the next turn."""
        more = work.advance(self._notify)
        with _COMING_AND_GOING, self._wake:
            self._works.remove(work)
            if more:
                self._works.append(work)
            else:
                self._close_when_empty()

    def _next(self) -> tuple[Seat, Job] | Work | None:
        """The next job and whose it is, else the next work; waits for one. None at the end."""
        with self._wake:
            self._served = None
            self._wake.notify_all()
            while self._seats or self._works:
                for seat in self._seats:
                    job = seat.slot
                    if job is not None and (
                        job.recut or not self._predictors.is_coming(job.settings)
                    ):
                        # behind all others, for the next turn
                        self._seats.remove(seat)
                        self._seats.append(seat)
                        seat.slot, self._served = None, seat
                        return seat, job
                self._predictors.tidy()
                for work in self._works:
                    if work.can_go_on:
                        return work
                self._wake.wait()
        return None

    def _put_back(self, seat: Seat, job: Job) -> None:
        """Others are served while the model of this job is being downloaded."""
        with self._wake:
            if not seat.obsolete(job):
                seat.slot = job

    def end(self, timeout_s: float) -> None:
        """Leave in place of all docks, and wait for the end."""
        for work in tuple(self._works):
            self.stop(work)
        for seat in tuple(self._seats):
            self.leave(seat)
        self._thread.join(timeout_s)


@atexit.register
def _end_all() -> None:
    """Wait for the threads: Python stops those that are left, and C++ code aborts when stopped."""
    limit = time.monotonic() + _LAST_WAIT_S
    for it in tuple(_RUNNING):
        it.end(max(limit - time.monotonic(), 0))

"""Operates a session without a window until it is killed: run by `test_autosave.py`.

A log tells which states there were: a line with what the session is after each operation, and a
line "over" when it was saved, which is when a user would have the window back.

    python killed_session.py FOLDER LOG SEED
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

from napari_sam3d._tests.plugin.conftest import BallPredictor
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.unsaved.autosave import Autosave
from napari_sam3d.prompts import Box, Scribble
from napari_sam3d.settings import InferenceSettings

SHAPE = (40, 72, 80)


def new_session() -> Session:
    viewer = ViewerModel()
    session = Session(viewer)
    session.set_image(viewer.add_image(np.zeros(SHAPE, np.int16), name="ct"))
    return session


def answer_all(session: Session) -> None:
    while (request := session.pending()) is not None:
        session.accept(request, BallPredictor(InferenceSettings()).predict(*_question(request)))


def _question(request):
    return request.volume, request.prompts, request.previous


def fingerprint(session: Session) -> str:
    """Tells states apart: all objects with their history, the voxels, and where the user is."""
    said = [(n, it.name, it.prompts) for n, it in sorted(session.objects.items())]
    labels = np.asarray(session.labels.data)
    parts = repr((session.current, said)).encode() + labels.astype(np.int32).tobytes()
    return hashlib.sha256(parts).hexdigest()


def operate(session: Session, chance: random.Random) -> None:
    """One operation of a user, whole: with the answers that it leads to."""
    kinds = ["click"] * 5 + ["undo", "redo", "new", "select", "clear", "paint"]
    what = chance.choice([*kinds, "box", "scribble", "remove", "start"])
    places = [tuple(float(chance.randrange(n)) for n in SHAPE) for _ in range(3)]
    if what == "click":
        session.prompt_layer.add(places[0], True)
    elif what == "box":
        session.set_box(Box(*places[:2]))
    elif what == "scribble":
        session.add_scribble(Scribble(tuple(places)))
    elif what == "remove" and session.object.prompts.parts:
        session.remove_prompt(0)
    elif what == "start" and session.labels.data.any():
        session.start_from(session.labels, int(session.labels.data.max()))
    elif what == "paint":
        at = [np.array([chance.randrange(n)]) for n in SHAPE]
        session.labels.data_setitem(tuple(at), chance.randrange(1, 300) % 200)
    elif what == "new":
        session.new_object()
    elif what == "select" and session.objects:
        session.select(chance.choice(sorted(session.objects)))
    elif what in ("undo", "redo", "clear"):
        getattr(session, what)()
    answer_all(session)


def main(folder: str, log: str, seed: str) -> None:
    session, chance = new_session(), random.Random(int(seed))
    autosave = Autosave(session, folder=Path(folder), patience_s=60)
    autosave.save()
    with open(log, "w") as lines:
        for _ in range(100):
            operate(session, chance)
            lines.write(fingerprint(session) + "\n")
            lines.flush()
            autosave.save()
            lines.write("over\n")
            lines.flush()
        sys.stdin.read()  # until it is killed
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])

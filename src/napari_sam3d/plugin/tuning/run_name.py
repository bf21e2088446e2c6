"""A name for the adapter to be, which tells what it is for and which nothing else has."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence

from napari_sam3d.engine.training.runs import free_name
from napari_sam3d.labelled import Pair

_UNNAMED = "object"
_ODD = re.compile(r"[^\w+-]+")
_LONGEST = 40  # characters of a class


def subject(pairs: Sequence[Pair]) -> str:
    """What the labels of the pairs mean, in a word or two."""
    names = Counter(
        name for pair in pairs for label, name in pair.names.items() if label and name.strip()
    )
    known = [name for name, _ in names.most_common()]
    if len(known) <= 1:
        return known[0] if known else _UNNAMED
    # such as "hippocampus" of its anterior and posterior part
    shared = [word for word in known[0].split() if all(word in it.split() for it in known)]
    return " ".join(shared) or f"{known[0]} and {len(known) - 1} more"


def run_name(what: str, model: str, now: datetime.datetime) -> str:
    """`<class>_<model>_<yyyymmdd-hhmm>`, with a number when there is one of that name."""
    stem = _ODD.sub("-", what).strip("-")[:_LONGEST] or _UNNAMED
    return free_name(f"{stem}_{model}_{now:%Y%m%d-%H%M}")

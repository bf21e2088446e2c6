"""Pickles of plain containers and numbers, read without calling anything that they name.

A pickle is a program that may call any function by its name. Here each name becomes a `_Name`,
which notes what it was called with and does nothing, and the values are made of these notes
afterwards. NumPy's own functions are not called either: a dtype whose flags were forged turns
bytes into pointers.

Taken are dict, list, tuple, set, str, bytes, int, float, bool and None; NumPy's numbers, which
become Python's; and its one-dimensional arrays of objects, which become lists.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 16 << 20
"""Bytes; such a file names cases or boxes, and a larger one is something else."""
_MOST_STEPS = 1_000_000
_MOST_ITEMS = 1_000_000
_DEEPEST = 50
_LONGEST = 1024  # bits; Python refuses to write out much longer numbers, as in a message
_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())
# these make objects of classes, or look up what this process has registered
_REFUSED = frozenset(
    "PERSID BINPERSID INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER".split()
)
_ARRAY, _SCALAR, _DTYPE = "multiarray._reconstruct", "multiarray.scalar", "numpy.dtype"
_ARRAY_TYPE, _ENCODE = "numpy.ndarray", "_codecs.encode"
_NAMES = {
    # numpy.core is what NumPy 1 called numpy._core
    **{f"numpy.{core}.{name}": name for core in ("core", "_core") for name in (_ARRAY, _SCALAR)},
    # Python 3 writes bytes and sets so for the protocols that have none
    **{name: name for name in (_DTYPE, _ARRAY_TYPE, _ENCODE)},
    **{f"{b}.{t}": t for b in ("builtins", "__builtin__") for t in ("bytes", "set", "frozenset")},
}


def read_plain_pickle(path: Path) -> Any:
    """What a pickle file holds; as `plain_pickle`, with the file's name in the sentence."""
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise ValueError(f"{path.name} is too large to be read as a pickle of plain values.")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return plain_pickle(content, path.name)


def plain_pickle(content: bytes, name: str) -> Any:
    """What a pickle of any protocol holds, when that is nothing but plain values.

    Parameters
    ----------
    content
        The bytes of the pickle; what follows it is not looked at.
    name
        What messages call it.

    Raises
    ------
    ValueError
        With one sentence: it names something else, is damaged, or would grow too large.
    """
    if len(content) > LARGEST:
        raise ValueError(f"{name} is too large to be read as a pickle of plain values.")
    try:
        _look_through(content)
        return _Plain().of(_Reader(io.BytesIO(content)).load(), 0)
    except _Refused as refused:
        raise ValueError(f"{name} {refused}") from refused
    except Exception as error:  # the pickle module promises no kind of exception
        raise ValueError(f"{name} is damaged or not a pickle; copy the file again.") from error


class _Refused(Exception):
    """Why a pickle is not read, after its name."""


class _Name:
    """A function or class that a pickle names; calling it makes a note of the call."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *given: Any) -> _Called:
        return _Called(self._name, given)

    def __setstate__(self, state: Any) -> None:
        raise _Refused(f"tries to change {self._name}; it is not read.")


class _Called:
    """A call that a pickle asks for, and the state it then gives to the object."""

    __slots__ = ("given", "name", "state")

    def __init__(self, name: str, given: tuple[Any, ...]) -> None:
        self.name, self.given = name, given
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Name:
        found = _NAMES.get(f"{module}.{name}")
        if found is None:
            named = repr(f"{module}.{name}")[:80]
            raise _Refused(
                f"is not read: it names {named}, and only plain values are taken from a pickle, "
                "since it could run any program."
            )
        return _Name(found)


def _look_through(content: bytes) -> None:
    """Hold the steps of a pickle against what plain values need, before any is done.

    The memory that a pickle asks for by a length or a place in its memo is given by Python before
    it is needed; no such number may be larger than the pickle itself.
    """
    for step, (opcode, value, _) in enumerate(pickletools.genops(content)):
        if opcode.name in _REFUSED:
            raise _Refused("is not read: it holds objects, not just plain values.")
        if step >= _MOST_STEPS:
            raise _Refused("holds too many values to be read as plain ones.")
        puts = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if puts and (value is None or not 0 <= value <= len(content)):
            raise ValueError("a place in the memo that nothing was put before")


class _Plain:
    """Makes plain values of what was read; shared parts are made anew, so they are counted."""

    def __init__(self) -> None:
        self._items = 0

    def of(self, value: Any, depth: int) -> Any:
        # a long text that is shared may be written out as often as it is named
        self._items += 1 + (len(value) // 16 if type(value) in (str, bytes) else 0)
        if self._items > _MOST_ITEMS or depth > _DEEPEST:
            raise _Refused("is nested too deeply or holds too many values to be read.")
        if type(value) is int and value.bit_length() > _LONGEST:
            raise _Refused("holds a whole number of hundreds of digits; it is not read.")
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        if type(value) is dict:
            return {self.of(k, depth + 1): self.of(v, depth + 1) for k, v in value.items()}
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self.of(item, depth + 1) for item in value)
        if type(value) is _Called:
            return _MAKE[value.name](self, value, depth + 1)
        raise _Refused("is not read: it holds something else than plain values.")

    def array(self, called: _Called, depth: int) -> list[Any]:
        """One-dimensional arrays of objects: (version, shape, dtype, order, items)."""
        _, shape, dtype, _, items = called.state
        if type(items) is not list or self._dtype(dtype) not in ("O", "O4", "O8"):
            raise _Refused("holds an array of other things than objects; it is not read.")
        if shape != (len(items),):
            raise ValueError("as many items as it says, along one axis")
        return [self.of(item, depth) for item in items]

    def scalar(self, called: _Called, depth: int) -> bool | int | float:
        """A number from its bytes."""
        dtype, given = called.given
        raw, kind = self.of(given, depth), self._dtype(dtype)
        if kind not in _NUMBERS:
            raise _Refused("holds a NumPy value that is no number; it is not read.")
        order = dtype.state[1]
        if order not in ("<", ">", "|") or type(raw) is not bytes:
            raise ValueError("the order of bytes")
        (number,) = np.frombuffer(raw, kind if order == "|" else order + kind).tolist()
        assert isinstance(number, bool | int | float)
        return number

    def encoded(self, called: _Called, depth: int) -> bytes:
        """Bytes as protocols 0 to 2 have them."""
        text, encoding = called.given
        if type(text) is not str or encoding != "latin1":
            raise ValueError("bytes as text")
        return text.encode("latin1")

    def collected(self, called: _Called, depth: int) -> Any:
        """A set, frozen set or bytes from the list of what is in it; empty without one."""
        make = {"set": set, "frozenset": frozenset, "bytes": bytes}[called.name]
        if len(called.given) > 1 or any(type(it) is not list for it in called.given):
            raise ValueError("a set or bytes")
        return make(self.of(item, depth) for items in called.given for item in items)

    def nothing(self, called: _Called, depth: int) -> Any:
        raise _Refused(f"is not read: it holds a {called.name}, which is no plain value.")

    def _dtype(self, value: Any) -> str:
        if type(value) is not _Called or value.name != _DTYPE or type(value.given[0]) is not str:
            raise ValueError("a dtype")
        return value.given[0]


_MAKE: dict[str, Callable[[_Plain, _Called, int], Any]] = {
    _ARRAY: _Plain.array,
    _SCALAR: _Plain.scalar,
    _ENCODE: _Plain.encoded,
    "bytes": _Plain.collected,
    "set": _Plain.collected,
    "frozenset": _Plain.collected,
    _DTYPE: _Plain.nothing,
    _ARRAY_TYPE: _Plain.nothing,
}

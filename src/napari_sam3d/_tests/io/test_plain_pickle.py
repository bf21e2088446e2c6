"""Pickles: plain values come back, and nothing that a pickle names is ever called."""

from __future__ import annotations

import copyreg
import functools
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d.io import plain_pickle as module
from napari_sam3d.io.plain_pickle import plain_pickle, read_plain_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
keys = st.text(max_size=5) | st.integers(-9, 9) | st.tuples(st.integers(0, 3), st.text(max_size=2))
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=20,
)
BOX = {"z_min": np.int64(2), "z_max": 9, "z_mid": np.uint8(5), "z_mid_x_min": np.float32(0.5)}


class Calls:
    """Pickled as a call of any function, which a test would notice."""

    def __init__(self, function, *given, state=None):
        self.reduced = (function, given) if state is None else (function, given, state)

    def __reduce__(self):
        return self.reduced


class Thing:
    """An object of a class, of which a pickle keeps name and fields."""

    def __init__(self):
        self.field = 1


@settings(deadline=None, max_examples=100)
@given(values, st.sampled_from(PROTOCOLS))
def test_plain_values_come_back_from_every_protocol(value, protocol):
    found = plain_pickle(pickle.dumps(value, protocol), "x.pkl")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("core", ["numpy._core", "numpy.core"])
def test_boxes_of_numpy_become_lists_and_numbers(protocol, core):
    boxes = np.array([BOX, {"big": np.array(513, ">u2")[()], "yes": np.True_}], object)
    content = pickle.dumps(boxes, protocol)
    own = np.array(0)[()].__reduce__()[0].__module__
    new = f"{core}.multiarray"
    if protocol < 4:
        content = content.replace(own.encode(), new.encode())
    else:  # a length stands before the name, and another before all of it
        content = content.replace(
            bytes([len(own)]) + own.encode(), bytes([len(new)]) + new.encode()
        )
        assert content[2:3] == pickle.FRAME
        content = content[:2] + content[11:]
    found = plain_pickle(content, "x")
    assert found == [
        {"z_min": 2, "z_max": 9, "z_mid": 5, "z_mid_x_min": 0.5},
        {"big": 513, "yes": True},
    ]
    assert type(found[0]["z_min"]) is int and type(found[0]["z_mid_x_min"]) is float
    assert found[1]["yes"] is True


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "function", [os.system, eval, exec, getattr, np.load, copyreg._reconstructor, functools.partial]
)
def test_no_function_is_reached(protocol, function):
    content = pickle.dumps([Calls(function, "1 / 0")], protocol)
    with pytest.raises(ValueError, match=r"^x\.pkl is not read: it names '.*', and only plain"):
        plain_pickle(content, "x.pkl")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_would_be_noticed(protocol, tmp_path):
    """The same pickle does harm when Python reads it, and none here."""
    mark = tmp_path / "mark"
    content = pickle.dumps(Calls(os.mkdir, str(mark)), protocol)
    with pytest.raises(ValueError, match="mkdir"):
        plain_pickle(content, "x")
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [Thing(), Calls(np.dtype, "i8"), np.arange(3), np.zeros(2, "i4,f8"), np.float64, np.dtype("O")],
    ids=repr,
)
def test_what_is_no_plain_value_is_refused(protocol, value):
    with pytest.raises(ValueError, match=r"^x ") as raised:
        plain_pickle(pickle.dumps({"a": value}, protocol), "x")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


def test_forged_dtypes_make_no_pointers_of_bytes():
    """An array of objects from raw bytes, and an object scalar, as `__setstate__` may be asked."""
    flags_gone = (3, "|", None, None, None, -1, -1, 0)
    dtype = Calls(np.dtype, "O8", False, True, state=flags_gone)
    array = Calls(
        np.array(0).__reduce__()[0], np.ndarray, (0,), b"b", state=(1, (1,), dtype, False, b"A" * 8)
    )
    scalar = Calls(np.array(0)[()].__reduce__()[0], dtype, b"A" * 8)
    for value in (array, scalar):
        with pytest.raises(ValueError, match=r"other things than objects|no number"):
            plain_pickle(pickle.dumps(value, 4), "x")


def test_names_cannot_be_changed_for_later_readings():
    change = (
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93"  # the class itself, not an object of it
        b"N}\x8c\x0c__setstate__\x8c\x01xs\x86b."
    )
    with pytest.raises(ValueError, match=r"tries to change numpy\.dtype"):
        plain_pickle(change, "x")
    boxes = np.array([BOX], object)
    assert plain_pickle(pickle.dumps(boxes), "x")[0]["z_min"] == 2


@pytest.mark.parametrize(
    "content",
    [
        b"(ios\nsystem\n(S'true'\ntR.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x02cbuiltins\nlist\n)\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x08builtins\x8c\x04list\x93)}\x92.",  # NEWOBJ_EX
        b"Pabc\n.",  # a persistent id
        b"\x82\x01.",  # what copyreg has registered
        b"\x80\x04\x8c\x05numpy\x8c\x0bload.__call__\x93.",  # a dotted name
        b"r\xff\xff\xff\x7f.",  # a memo of gigabytes
        b"Nr\xff\xff\xff\x7f.",
        b"Np99999999999\n.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of such a length
        b"\x96\xff\xff\xff\xff\xff\x00\x00\x00.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",  # a frame of such a length
        b"]q\x00h\x00a.",  # a list that holds itself
        b"}]N\x73.",  # a dict with a list as key
        b"\x8f(]\x90.",  # a set with a list in it
        b"\x80\x63N.",  # a protocol to come
        b"I" + b"9" * 10_000 + b"\n.",
        b"",
        b".",
        b"N",
        b"garbage",
        b"\xff" * 50,
    ],
)
def test_malicious_and_damaged_pickles_are_one_sentence(content):
    with pytest.raises(ValueError, match=r"^x\.pkl \S") as raised:
        plain_pickle(content, "x.pkl")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


def test_values_that_are_shared_do_not_grow_without_end():
    billion: object = "a" * 100
    for _ in range(40):
        billion = (billion, billion)
    with pytest.raises(ValueError, match="too many values"):
        plain_pickle(pickle.dumps(billion), "x")
    deep: list = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        plain_pickle(pickle.dumps(deep), "x")
    text = "a" * 100_000
    with pytest.raises(ValueError, match="too many values"):
        plain_pickle(pickle.dumps([text] * 1000), "x")


def test_a_number_that_cannot_be_written_out_is_refused():
    with pytest.raises(ValueError, match="whole number of hundreds of digits"):
        plain_pickle(pickle.dumps([2**100_000]), "x")


def test_a_pickle_with_too_many_steps_is_not_read(monkeypatch):
    monkeypatch.setattr(module, "_MOST_STEPS", 100)
    with pytest.raises(ValueError, match="too many values"):
        plain_pickle(pickle.dumps(list(range(200))), "x")


def test_a_file_is_read_unless_it_is_too_large(tmp_path, monkeypatch):
    path = tmp_path / "split.pkl"
    path.write_bytes(pickle.dumps([{"a": (1, 2)}]))
    assert read_plain_pickle(path) == [{"a": (1, 2)}]
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(ValueError, match=r"^split\.pkl is too large"):
        read_plain_pickle(path)
    with pytest.raises(ValueError, match=r"^none\.pkl cannot be read: No such file"):
        read_plain_pickle(tmp_path / "none.pkl")
    with pytest.raises(ValueError, match="cannot be read"):
        read_plain_pickle(tmp_path)


GOOD = [pickle.dumps(np.array([BOX], object), p) for p in PROTOCOLS]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_bytes_are_a_value_or_a_sentence(data):
    content = bytearray(data.draw(st.sampled_from(GOOD) | st.binary(max_size=60)))
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        found = plain_pickle(bytes(content), "x")
    except ValueError as error:
        assert str(error).startswith("x ") and "\n" not in str(error)
    else:
        plain = (type(None), bool, int, float, str, bytes, dict, list, tuple, set, frozenset)
        assert type(found) in plain

"""Looking through arrays of labels: the same as at once, in little memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam3d.plugin.layers import voxels
from napari_sam3d.plugin.layers.voxels import box_of, slabs, widened
from napari_sam3d.windows import bounding_box

HUGE = (2000, 2000, 2000)
small = st.tuples(*[st.integers(1, 7)] * 3)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells and limits memory so")


def pages(field: int) -> int:
    """Bytes of the address space (0), or of what is in memory (1)."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * os.sysconf("SC_PAGESIZE")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """No room for another 2000 cubed bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages(0) + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@given(data=arrays(np.uint8, small, elements=st.integers(0, 3)), slab=st.integers(1, 60))
def test_boxes_are_those_of_the_mask(data, slab) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxels, "_SLAB", slab)
        for label_id in (1, 2, 300, -1):
            expected = bounding_box(data == label_id)
            assert box_of(data, label_id) == expected
            assert box_of(da.from_array(data), label_id) == expected


@given(data=arrays(np.uint8, st.one_of(small, st.tuples(*[st.integers(1, 4)] * 4))))
def test_a_wider_type_has_the_same_labels(data) -> None:
    wider = widened(data, np.dtype(np.uint16))
    assert wider.dtype == np.uint16
    np.testing.assert_array_equal(wider, data)


@pytest.fixture
def huge() -> np.ndarray:
    data = np.zeros(HUGE, np.uint8)
    data[999:1002, 5, 1990:] = 7
    return data


@linux
def test_a_huge_array_is_looked_through_where_it_is(huge, little_memory) -> None:
    assert box_of(huge, 7) == (slice(999, 1002), slice(5, 6), slice(1990, 2000))
    assert box_of(huge, 8) is None
    assert [first for first, slab in slabs(huge, 32) if slab.max()] == [992]


@linux
def test_zeros_stay_virtual_when_the_type_is_widened(huge) -> None:
    before = pages(1)
    wider = widened(huge, np.dtype(np.uint16))
    assert wider[1000, 5, 1995] == 7
    assert pages(1) - before < 500e6  # of 16e9

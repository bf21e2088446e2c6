"""Scores against those of google-deepmind/surface-distance, and by hand."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from napari_sam3d.engine.metrics import area_under, clicks_to, dice, surface_scores

GOLDEN = Path(__file__).parents[1] / "golden"
KNOWN = json.loads((GOLDEN / "metrics.json").read_text())["results"]
TOLERANCES = (0.5, 1.0, 2.0, 5.0)
ONE, ANISOTROPIC = (1.0, 1.0, 1.0), (3.0, 0.8, 0.8)


def ball(center: tuple[int, int, int], radius: float) -> np.ndarray:
    return sum((np.indices((96, 96, 96))[i] - center[i]) ** 2 for i in range(3)) < radius**2


@pytest.mark.parametrize(
    ("pair", "spacing"),
    [(pair, key) for pair, values in KNOWN.items() for key in values if key.startswith("(")],
)
def test_recorded_pairs(pair, spacing):
    arrays = load_file(GOLDEN / "metrics.safetensors")
    mask, reference = arrays[f"{pair}.pred"] > 0, arrays[f"{pair}.gt"] > 0
    expected = KNOWN[pair][spacing]
    found = surface_scores(mask, reference, ast.literal_eval(spacing), TOLERANCES)
    known = [expected[f"nsd@{it}"] for it in TOLERANCES]
    np.testing.assert_allclose(found.nsd, known, atol=1e-6, equal_nan=True)
    np.testing.assert_allclose(found.hd95_mm, expected["hd95"], atol=1e-9)
    overlap = KNOWN[pair]["dice_surface_distance"]
    np.testing.assert_allclose(dice(mask, reference), overlap, atol=1e-9, equal_nan=True)


def test_all_recorded_pairs_were_there():
    keys = [key for values in KNOWN.values() for key in values if key.startswith("(")]
    assert (len(KNOWN), len(keys)) == (9, 27)


BALLS = {
    "shifted": (((48, 48, 48), 30), ((50, 48, 48), 30)),
    "smaller": (((48, 48, 48), 30), ((48, 48, 48), 28)),
    "small": (((48, 48, 48), 4), ((49, 48, 48), 4)),
    "border": (((0, 48, 48), 20), ((2, 48, 48), 20)),
}


@pytest.mark.parametrize(
    ("balls", "spacing", "tolerance", "expected"),
    [
        ("shifted", ONE, 1, 0.7783),
        ("shifted", ANISOTROPIC, 1, 0.7862),
        ("shifted", ANISOTROPIC, 2, 0.9214),
        ("smaller", ONE, 1, 0.1295),
        ("smaller", ONE, 2, 0.9102),
        ("smaller", ANISOTROPIC, 2, 0.8630),
        ("small", ANISOTROPIC, 1, 0.9209),
        ("small", ANISOTROPIC, 2, 0.9276),
        ("border", ONE, 1, 0.8538),
        ("border", ANISOTROPIC, 2, 0.9373),
    ],
)
def test_balls(balls, spacing, tolerance, expected):
    one, other = (ball(*it) for it in BALLS[balls])
    assert surface_scores(one, other, spacing, [tolerance]).nsd[0] == pytest.approx(
        expected, abs=5e-5
    )


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    pads=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3),
    seed=st.integers(0, 2**31),
)
def test_where_the_volume_ends_does_not_matter(shape, pads, seed):
    """Masks up to all borders score as they do in the middle of a larger volume."""
    mask, reference = np.random.default_rng(seed).random((2, *shape)) < 0.6
    found = surface_scores(mask, reference, (0.7, 0.9, 2.5), TOLERANCES)
    larger = surface_scores(
        np.pad(mask, pads), np.pad(reference, pads), (0.7, 0.9, 2.5), TOLERANCES
    )
    np.testing.assert_array_equal((*found.nsd, found.hd95_mm), (*larger.nsd, larger.hd95_mm))


def test_rounding_errors_count_as_in_the_original():
    """Three voxels of 0.4 mm are 1.2000000000000002 mm, more than a tolerance of 1.2."""
    reference = np.zeros((1, 1, 12), bool)
    mask = reference.copy()
    reference[..., :4], mask[..., :7] = True, True
    same, more = (
        surface_scores(mask, reference, (1.0, 1.0, 0.4), [it]).nsd[0] for it in (1.2, 1.3)
    )
    assert same < more == 1.0


def test_a_mask_may_be_a_view():
    arrays = load_file(GOLDEN / "metrics.safetensors")
    mask, reference = arrays["noisy.pred"] > 0, arrays["noisy.gt"] > 0
    turned = [it.transpose(2, 1, 0)[::-1] for it in (mask, reference)]
    found = surface_scores(*turned, (3.0, 2.0, 1.0), TOLERANCES)
    copies = [np.ascontiguousarray(it) for it in turned]
    assert found == surface_scores(*copies, (3.0, 2.0, 1.0), TOLERANCES)


def test_an_empty_mask():
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    one = surface_scores(empty, full, ONE, [1.0, 2.0])
    assert (one.nsd, one.hd95_mm) == ((0.0, 0.0), math.inf)
    none = surface_scores(empty, empty, ONE, [1.0, 2.0])
    assert np.isnan(none.nsd).all() and none.hd95_mm == math.inf
    assert dice(empty, full) == 0 and math.isnan(dice(empty, empty))


def test_area_under_five_clicks():
    assert area_under([1.0] * 5) == 4
    assert area_under([0.0] * 5) == 0
    assert area_under([0.0, 0.5, 0.5, 1.0, 1.0]) == pytest.approx(2.5)
    assert math.isnan(area_under([0.7]))


def test_clicks_to_a_dice():
    assert [clicks_to([0.5, 0.8, 0.79], it) for it in (0.5, 0.8, 0.9)] == [1, 2, None]
    assert clicks_to([], 0.5) is None


def test_importing_metrics_does_not_import_monai():
    code = "import sys; import napari_sam3d.engine.metrics; sys.exit('monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Prompts to JSON and back, on the same grid and on another one of the same patient."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d._tests.nifti_files import (
    AFFINE,
    ORIENTATIONS,
    SHAPE,
    anatomy,
    forms,
    nifti,
    put,
    stored_as,
    turn,
)
from napari_sam3d.io import read_nifti
from napari_sam3d.io.prompt_file import read_prompts, write_prompts
from napari_sam3d.io.prompt_rows import ObjectPrompts
from napari_sam3d.prompts import Box, Point, Scribble
from napari_sam3d.volume import Grid, Volume

ONE = (ObjectPrompts(1, (Point((1.0, 2.0, 3.0)), Point((0.25, 2.0, 4.0), False)), "Leber"),)


@pytest.fixture
def volume(tmp_path):
    return read_nifti(put(tmp_path / "ct.nii", nifti()))


def inside(shape):
    """Positions anywhere in the voxels of a grid."""
    return st.tuples(*[st.floats(-0.499, n - 0.501) for n in shape])


def near(objects, expected, atol):
    assert [(it.id, it.name) for it in objects] == [(it.id, it.name) for it in expected]
    for it, other in zip(objects, expected, strict=True):
        assert [p.positive for p in it.points] == [p.positive for p in other.points]
        np.testing.assert_allclose(
            [p.position_voxel for p in it.points],
            [p.position_voxel for p in other.points],
            atol=atol,
        )
        assert [s.positive for s in it.scribbles] == [s.positive for s in other.scribbles]
        for stroke, same in zip(it.scribbles, other.scribbles, strict=True):
            np.testing.assert_allclose(stroke.positions_voxel, same.positions_voxel, atol=atol)
        assert (it.box is None) == (other.box is None)
        if it.box is not None:
            np.testing.assert_allclose(it.box.array(), other.box.array(), atol=atol)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_points_stay_where_they_are_in_the_patient(tmp_path_factory, data):
    """However the image is stored, and on the same image stored in any other way."""
    folder = tmp_path_factory.mktemp("prompts")
    oblique = data.draw(st.booleans())
    first, second = (
        read_nifti(put(folder / name, nifti(stored, **forms(affine, "both"))))
        for name in ("a.nii", "b.nii")
        for stored, affine in [
            stored_as(*anatomy(oblique), *data.draw(st.sampled_from(ORIENTATIONS)))
        ]
    )
    points = st.builds(Point, inside(first.grid.shape), st.booleans())
    strokes = st.builds(
        Scribble,
        st.lists(inside(first.grid.shape), min_size=1, max_size=3).map(tuple),
        st.booleans(),
    )
    # a box ends in its outermost voxel centres
    corners = st.tuples(*[st.floats(0, n - 1) for n in first.grid.shape])
    boxes = st.none() | st.builds(Box, corners, corners)
    objects = tuple(
        ObjectPrompts(
            number,
            tuple(data.draw(st.lists(points, min_size=1, max_size=4))),
            name,
            data.draw(boxes),
            tuple(data.draw(st.lists(strokes, max_size=2))),
        )
        for number, name in data.draw(
            st.dictionaries(st.integers(1, 65535), st.text(), min_size=1, max_size=3).map(
                lambda names: sorted(names.items())
            )
        )
    )
    path = write_prompts(folder / "p", objects, first)
    near(read_prompts(path, first), objects, 1e-9)
    near(read_prompts(path, second), objects, 1e-4)  # a header has float32 only


def test_boxes_and_scribbles_are_written_as_the_documentation_says(tmp_path, volume):
    stroke = Scribble(((1.0, 2.0, 3.0), (1.0, 2.0, 4.0)), False)
    it = ObjectPrompts(7, box=Box((4.0, 3.0, 1.0), (1.0, 2.0, 3.0)), scribbles=(stroke,))
    path = write_prompts(tmp_path / "p", [it, ObjectPrompts(8)], volume)
    value = json.loads(path.read_text("utf-8"))
    (row,) = value["objects"]
    assert value["version"] == 2 and row["points"] == []
    last = np.array(SHAPE) - 1
    low, high = last - [1, 2, 1], last - [3, 3, 4]
    np.testing.assert_allclose(row["box"]["ijk"], [low, high])
    corners = np.array(row["box"]["ras_mm"])
    assert corners.shape == (8, 3)
    for end in (low, high):
        assert np.abs(corners - (AFFINE @ [*end, 1])[:3]).max(1).min() < 1e-9
    (written,) = row["scribbles"]
    assert written["label"] == "negative"
    np.testing.assert_allclose(written["ijk"], [last - [3, 2, 1], last - [4, 2, 1]])
    near(read_prompts(path, volume), [it], 1e-9)
    assert len(path.read_text("utf-8").splitlines()) == 8


def test_a_box_on_another_grid_holds_the_same_place(tmp_path, volume):
    box = Box((1.0, 1.0, 1.0), (3.0, 4.0, 4.0))
    path = write_prompts(tmp_path / "p", [ObjectPrompts(1, box=box)], volume)
    grid = volume.grid
    turned = Grid(grid.shape, grid.affine @ turn((0, 0, 20)))
    read = read_prompts(path, Volume(np.zeros(turned.shape), turned, "turned"))[0].box
    inner = turned.to_voxel(grid.to_world(np.array([box.middle()])))[0]
    low, high = read.array()
    assert (low <= inner).all() and (inner <= high).all()
    assert (low >= 0).all() and (high <= np.array(turned.shape) - 1).all()
    far = Volume(np.zeros((4, 4, 4)), Grid.from_spacing((4, 4, 4), (1, 1, 1), (500, 0, 0)), "knee")
    with pytest.raises(ValueError, match=r"has the middle of the box \(.* mm of object 1, which"):
        read_prompts(path, far)


def test_the_file_is_what_the_documentation_says(tmp_path, volume):
    path = write_prompts(tmp_path / "p.json", ONE, volume)
    value = json.loads(path.read_text("utf-8"))
    assert (value["format"], value["version"]) == ("napari-sam3d prompts", 1)
    assert value["image"] == {"name": "ct.nii", "shape": list(SHAPE), "affine": AFFINE.tolist()}
    (row,) = value["objects"]
    assert (row["id"], row["name"]) == (1, "Leber")
    first, second = row["points"]
    # by hand: the display axes run to I, P, L; the stored ones of AFFINE to R, A, S
    i, j, k = SHAPE[0] - 1 - 3, SHAPE[1] - 1 - 2, SHAPE[2] - 1 - 1
    assert (first["label"], first["ijk"]) == ("positive", [i, j, k])
    np.testing.assert_allclose(first["ras_mm"], (AFFINE @ [i, j, k, 1])[:3])
    assert (second["label"], second["ijk"][2]) == ("negative", SHAPE[2] - 1 - 0.25)
    assert str(tmp_path) not in path.read_text("utf-8")


def test_a_volume_from_no_file_has_the_frame_it_would_be_saved_in(tmp_path):
    grid = Grid.from_spacing((4, 5, 6), (3, 2, 1), (10, 20, 30))
    volume = Volume(np.zeros(grid.shape), grid, "cells")
    path = write_prompts(tmp_path / "p", ONE, volume)
    value = json.loads(path.read_text("utf-8"))
    assert value["image"]["name"] == "cells" and value["image"]["shape"] == [6, 5, 4]
    np.testing.assert_allclose(value["objects"][0]["points"][0]["ras_mm"], [-33, -24, -13])
    near(read_prompts(path, volume), ONE, 1e-9)


def test_another_grid_of_the_patient_takes_the_millimetres(tmp_path, volume):
    path = write_prompts(tmp_path / "p", ONE, volume)
    grid = volume.grid
    finer = grid.patch(grid.center_voxel, (14, 12, 20), grid.shape)
    read = read_prompts(path, Volume(np.zeros(finer.shape), finer, "finer"))
    for point, expected in zip(read[0].points, ONE[0].points, strict=True):
        np.testing.assert_allclose(
            finer.to_world(point.position_voxel), grid.to_world(expected.position_voxel), atol=1e-9
        )


def test_indices_count_on_the_same_grid_and_millimetres_elsewhere(tmp_path, volume):
    path = write_prompts(tmp_path / "p", ONE, volume)
    value = json.loads(path.read_text("utf-8"))
    for point in value["objects"][0]["points"]:
        point["ras_mm"] = None
    path.write_text(json.dumps(value))
    near(read_prompts(path, volume), ONE, 1e-9)
    other = Volume(np.zeros((9, 9, 9)), Grid.from_spacing((9, 9, 9), (1, 1, 1)), "other")
    with pytest.raises(ValueError, match=r"without ras_mm, which is needed because other"):
        read_prompts(path, other)
    del value["image"]
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="without ras_mm"):
        read_prompts(path, volume)


def test_a_point_outside_is_one_sentence(tmp_path, volume):
    path = write_prompts(tmp_path / "p", ONE, volume)
    far = Volume(np.zeros((4, 4, 4)), Grid.from_spacing((4, 4, 4), (1, 1, 1), (500, 0, 0)), "knee")
    with pytest.raises(ValueError, match=r"^p\.json has the point .* mm of object 1, which is"):
        read_prompts(path, far)


def changed(**changes):
    """A sound file, with some of it replaced; a callable gets the value it replaces."""
    point = {"label": "positive", "ijk": [1, 2, 3], "ras_mm": [1, 2, 3]}
    image = {"name": "ct.nii", "shape": list(SHAPE), "affine": AFFINE.tolist()}
    object_ = {"id": 1, "name": "", "points": [point], "box": None, "scribbles": []}
    value = {"format": "napari-sam3d prompts", "version": 1, "image": image, "objects": [object_]}
    for part in (value, image, object_, point):
        part.update({key: changes[key] for key in changes if key in part})
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        (changed(format="x"), "does not hold napari-sam3d prompts"),
        (changed(version=3), "newer napari-sam3d"),
        (changed(version=True), "version is True"),
        (changed(image=3), "image is not described"),
        (changed(shape=[1, 2]), "shape or affine"),
        (changed(affine=[[1, 2, 3, 4]] * 3), "shape or affine"),
        (changed(affine=[[1, 2, 3, None]] * 4), "shape or affine"),
        (changed(objects=[]), "no list of objects"),
        (changed(objects=[5]), "has the id None"),
        (changed(id=0), "has the id 0"),
        (changed(id=70000), "has the id 70000"),
        (changed(id=1.5), "has the id 1.5"),
        (changed(name=["x"]), "name of object 1 is no text"),
        (changed(points=[]), "object 1 has no prompts"),
        (changed(points=None), "object 1 has no prompts"),
        (changed(box=[1, 2]), "box of object 1 is none"),
        (changed(box={}), "a box of object 1 without ras_mm"),
        (changed(box={"ijk": [[1, 2], [3, 4]]}), "a box of object 1 has .* for ijk, not positions"),
        (changed(box={"ijk": [[90, 1, 1], [91, 2, 2]]}), "middle of the box .* which is outside"),
        (changed(scribbles={}), "scribbles of object 1 are no list"),
        (changed(scribbles=[3]), "a scribble of object 1 has the label None"),
        (changed(scribbles=[{"label": "positive", "ijk": []}]), "for ijk, not positions"),
        (changed(scribbles=[{"label": "positive", "ijk": [[1, 2, 99]]}]), "has the scribble .*99"),
        (changed(points=[7]), "neither 'positive' nor 'negative'"),
        (changed(label="maybe"), "neither 'positive' nor 'negative'"),
        (changed(label=["positive"]), "neither 'positive' nor 'negative'"),
        (changed(ijk=[1, 2]), "not three numbers"),
        (changed(ijk=[1, 2, float("nan")]), "not JSON"),
        (changed(ijk=[1, 2, float("inf")]), "not JSON"),
        (changed(ijk=[1, 2, "3"]), "not three numbers"),
        (changed(ijk=[1, 2, 10**400]), "not three numbers"),
        (changed(ijk=[1, 2, 1e308]), "which is outside ct.nii"),
        (changed(ijk=[-1, 2, 3]), r"has the point \(-1, 2, 3\) of object 1, which is outside"),
        (changed(name="x" * 500, ijk=list(range(500))), "not three numbers"),
    ],
)
def test_a_broken_or_foreign_file_is_one_sentence(tmp_path, volume, text, words):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^p\.json .*{words}") as raised:
        read_prompts(path, volume)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


def test_the_same_object_twice_is_refused(tmp_path, volume):
    value = json.loads(changed())
    value["objects"] *= 2
    (tmp_path / "p.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match="object 1 is in it twice"):
        read_prompts(tmp_path / "p.json", volume)


def test_missing_files_and_folders_are_one_sentence(tmp_path, volume):
    with pytest.raises(ValueError, match=r"^gone\.json cannot be read: No such file"):
        read_prompts(tmp_path / "gone.json", volume)
    with pytest.raises(ValueError, match="is not a file"):
        read_prompts(tmp_path, volume)


def test_a_file_is_only_replaced_on_request(tmp_path, volume):
    path = write_prompts(tmp_path / "p", ONE, volume)
    before = path.read_bytes()
    two = (*ONE, ObjectPrompts(2, ONE[0].points))
    with pytest.raises(FileExistsError, match=r"p\.json exists already"):
        write_prompts(path, two, volume)
    with pytest.raises(ValueError, match="no prompts to save"):
        write_prompts(path, [ObjectPrompts(3, ())], volume, overwrite=True)
    assert path.read_bytes() == before
    write_prompts(path, two, volume, overwrite=True)
    assert [it.id for it in read_prompts(path, volume)] == [1, 2]

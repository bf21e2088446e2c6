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
)
from napari_sam3d.io import read_nifti
from napari_sam3d.io.prompt_file import ObjectPrompts, read_prompts, write_prompts
from napari_sam3d.prompts import Point
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
    objects = tuple(
        ObjectPrompts(number, tuple(data.draw(st.lists(points, min_size=1, max_size=4))), name)
        for number, name in data.draw(
            st.dictionaries(st.integers(1, 65535), st.text(), min_size=1, max_size=3).map(
                lambda names: sorted(names.items())
            )
        )
    )
    path = write_prompts(folder / "p", objects, first)
    near(read_prompts(path, first), objects, 1e-9)
    near(read_prompts(path, second), objects, 1e-4)  # a header has float32 only


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
    object_ = {"id": 1, "name": "", "points": [point]}
    value = {"format": "napari-sam3d prompts", "version": 1, "image": image, "objects": [object_]}
    for part in (value, image, object_, point):
        part.update({key: changes[key] for key in changes if key in part})
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        (changed(format="x"), "does not hold napari-sam3d prompts"),
        (changed(version=2), "newer napari-sam3d"),
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
        (changed(points=[]), "object 1 has no points"),
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
    with pytest.raises(ValueError, match="no points to save"):
        write_prompts(path, [ObjectPrompts(3, ())], volume, overwrite=True)
    assert path.read_bytes() == before
    write_prompts(path, two, volume, overwrite=True)
    assert [it.id for it in read_prompts(path, volume)] == [1, 2]

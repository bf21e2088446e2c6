"""Where the cursor is, compared with nibabel's affine of the same file."""

from __future__ import annotations

import gc
import json
import re
import weakref
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_sam3d._tests.nifti_files import SHAPE, nifti, numbers, put
from napari_sam3d.plugin.canvas import cursor
from napari_sam3d.plugin.files.reader import read

# axes permuted, one of them flipped, and all of them oblique
TURN = nib.eulerangles.euler2mat(0.2, -0.15, 0.1) @ np.array([[0, 0, 2.0], [-1.5, 0, 0], [0, 3, 0]])
OBLIQUE = nib.affines.from_matvec(TURN, [12, -34, 56])


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.mouse_over_canvas = True
    yield viewer
    cursor.follow(viewer).close()


def put_oblique(folder, name="scan.nii.gz", data=None, **fields):
    return put(folder / name, nifti(data, sform=OBLIQUE, **fields))


def show(viewer, path) -> Layer:
    (data,) = read(str(path))
    return viewer.add_layer(Layer.create(*data))


def point(viewer, layer, voxel):
    """Put the cursor on a display voxel of a layer."""
    world = layer.data_to_world(voxel)
    viewer.dims.set_point(range(len(world)), world)
    viewer.cursor.position = tuple(world)


def said(text):
    """Millimetres and indices in a text."""
    match = re.fullmatch(r"RAS (.*) mm  ·  ijk (\d+), (\d+), (\d+)(.*)", text)
    assert match, text
    mm = [float(x) for x in match[1].split(", ")]
    return np.array(mm), tuple(int(n) for n in match.groups()[1:4]), match[5]


def test_every_voxel_of_an_oblique_permuted_file(tmp_path, viewer):
    path = put_oblique(tmp_path)
    layer = show(viewer, path)
    stored, affine = nib.load(path).get_fdata(), nib.load(path).affine
    seen = set()
    for voxel in np.ndindex(layer.data.shape):
        if sum(voxel) % 5:
            continue
        point(viewer, layer, voxel)
        mm, ijk, rest = said(cursor.describe(viewer))
        assert stored[ijk] == layer.data[voxel] and not rest
        np.testing.assert_allclose(mm, nib.affines.apply_affine(affine, ijk), atol=0.0501)
        seen.add(ijk)
    assert len(seen) == 42


def test_within_a_voxel_the_millimetres_move_and_the_slice_is_the_one_that_is_seen(
    tmp_path, viewer
):
    path = put_oblique(tmp_path)
    layer, affine = show(viewer, path), nib.load(path).affine
    point(viewer, layer, (2.3, 1.4, 3.2))
    mm, ijk, _ = said(cursor.describe(viewer))
    point(viewer, layer, (2, 1, 3))
    _, same, _ = said(cursor.describe(viewer))
    assert ijk == same
    inside = np.linalg.inv(affine) @ [*mm, 1]
    away = np.sort(np.abs(inside[:3] - ijk))
    np.testing.assert_allclose(away, (0, 0.2, 0.4), atol=0.05)


def test_nothing_is_said_outside_and_in_3d(tmp_path, viewer):
    layer = show(viewer, put_oblique(tmp_path))
    for voxel in ((0, 0, -0.6), (1, layer.data.shape[1] - 0.4, 0)):
        viewer.cursor.position = tuple(layer.data_to_world(voxel))
        assert cursor.describe(viewer) == ""
    point(viewer, layer, (1, 1, 1))
    assert cursor.describe(viewer)
    viewer.dims.ndisplay = 3
    assert cursor.describe(viewer) == ""
    assert cursor.describe(ViewerModel()) == ""


def test_in_3d_it_is_what_is_aimed_at(tmp_path, viewer):
    layer = show(viewer, put_oblique(tmp_path))
    text, said = cursor.follow(viewer), []
    text.changed.connect(said.append)
    point(viewer, layer, (1, 2, 3))
    expected = cursor.describe(viewer)
    viewer.dims.ndisplay = 3
    text.aim(np.array(layer.data_to_world((1, 2, 3))))
    text.aim(np.array(layer.data_to_world((1, 2, layer.data.shape[2]))))
    text.aim(np.array(layer.data_to_world((1, 2, 3))))
    text.aim(None)
    assert said == [expected, "", expected, "", expected, ""]


def test_time_and_colours(tmp_path, viewer):
    film = numbers((*SHAPE, 4))
    layer = show(viewer, put_oblique(tmp_path, "film.nii", film, pixdim=(1, 2, 2, 2, 2.5)))
    point(viewer, layer, (3, 1, 2, 1))
    _, ijk, rest = said(cursor.describe(viewer))
    assert rest == "  ·  time 3"
    assert film[(*ijk, 3)] == layer.data[3, 1, 2, 1]
    photo = numbers((3, *SHAPE), "u1")
    layer = show(
        viewer, put_oblique(tmp_path, "photo.nii", photo, dim=(3, *SHAPE), code=128, bits=24)
    )
    point(viewer, layer, (1, 2, 1))
    viewer.cursor.position = (0.0, *layer.data_to_world((1, 2, 1)))
    _, ijk, rest = said(cursor.describe(viewer))
    assert not rest
    np.testing.assert_array_equal(photo[(slice(None), *ijk)], layer.data[1, 2, 1])


def test_which_layer_is_spoken_of(tmp_path, viewer):
    below = show(viewer, put_oblique(tmp_path))
    other = put(tmp_path / "other.nii", nifti())
    above = show(viewer, other)
    plain = viewer.add_image(np.zeros((5, 5, 5)))
    point(viewer, below, (2, 1, 3))

    def is_of(layer) -> bool:
        zyx = layer.world_to_data(viewer.cursor.position)
        mm, _, _ = said(cursor.describe(viewer, image))
        source = cursor.source_of({"metadata": layer.metadata})
        return np.allclose(mm, source.to_ras(zyx), atol=0.06)

    image = None
    above.translate = below.translate
    viewer.layers.selection.active = below
    assert is_of(below)
    viewer.layers.selection.active = plain
    assert is_of(above)
    image = below
    assert is_of(below)
    image, above.visible = None, False
    assert is_of(below)
    viewer.layers.remove(below)
    viewer.layers.remove(above)
    viewer.layers.selection.active = None
    viewer.add_points(np.zeros((1, 3)))
    viewer.cursor.position = (1, 1, 1)
    assert cursor.describe(viewer)


def test_a_layer_that_is_no_file_has_millimetres_and_the_indices_it_would_be_stored_at(viewer):
    layer = viewer.add_image(np.zeros((4, 5, 6)), scale=(3000, 2000, 1000), units=("um",) * 3)
    point(viewer, layer, (1, 2, 3))
    text = cursor.describe(viewer)
    assert re.fullmatch(r"-?[\d.]+, -?[\d.]+, -?[\d.]+ mm  ·  ijk \d, \d, \d", text)
    numbers_mm = sorted(abs(float(x)) for x in text.split(" mm")[0].split(", "))
    assert numbers_mm == [3, 3, 4]
    layer.rotate = (0, 0, 20)
    assert cursor.describe(viewer) == ""
    viewer.layers[:] = [Image(np.zeros((4, 5)))]
    viewer.cursor.position = (1, 1)
    assert cursor.describe(viewer) == ""


def test_metadata_of_another_shape_is_not_believed(tmp_path, viewer):
    layer = show(viewer, put_oblique(tmp_path))
    crop = viewer.add_image(layer.data[1:], metadata=layer.metadata, scale=layer.scale)
    viewer.layers.remove(layer)
    point(viewer, crop, (1, 1, 1))
    assert not cursor.describe(viewer).startswith("RAS")


def test_names_of_labels_stay_in_the_status(tmp_path, viewer):
    path = put_oblique(tmp_path, "a.nii", numbers(dtype="u1"), intent=1002)
    rows = [{"id": 5, "name": "liver"}]
    (tmp_path / "a.labels.json").write_text(
        json.dumps({"format": "napari-sam3d labels", "version": 1, "labels": rows})
    )
    layer = show(viewer, path)
    shown = []
    viewer.events.status.connect(lambda event: shown.append(event.value))
    cursor.follow(viewer)
    point(viewer, layer, np.argwhere(layer.data == 5)[0])
    viewer.update_status_from_cursor()
    assert re.fullmatch(r" RAS .* mm  ·  ijk \d, \d, \d: 5; name: liver", shown[-1]["coordinates"])


def test_the_text_is_told_once_per_change(tmp_path, viewer):
    layer = show(viewer, put_oblique(tmp_path))
    heard = []
    text = cursor.follow(viewer)
    text.changed.connect(heard.append)
    for voxel in ((1, 1, 1), (1, 1, 1), (1, 1, 2), (1, 1, -3)):
        point(viewer, layer, voxel)
    assert heard[-1] == "" and heard[-2].startswith("RAS")
    assert all(one != other for one, other in pairwise(heard))
    assert cursor.follow(viewer) is text
    text.close()
    point(viewer, layer, (1, 1, 1))
    assert heard[-1] == ""
    assert cursor.follow(viewer) is not text


def test_messages_of_others_are_left_alone(tmp_path, viewer):
    layer = show(viewer, put_oblique(tmp_path))
    shown = []
    viewer.events.status.connect(lambda event: shown.append(event.value))
    text = cursor.follow(viewer)
    point(viewer, layer, (1, 1, 1))
    shown.clear()
    viewer.status = "Saved scan.nii.gz"
    assert shown == ["Saved scan.nii.gz"]
    viewer.status = "Ready"
    assert shown[-1] == text.text
    viewer.status = "[1 2 3] » scan: 5    mask: 7"
    assert shown[-1] == f"{text.text} » scan: 5    mask: 7"


def test_a_viewer_is_not_kept_alive():
    viewer = ViewerModel()
    cursor.follow(viewer)
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    assert all(text._viewer() is not None for text in cursor._FOLLOWED.values())


def test_a_real_status_bar_says_it(tmp_path, real_viewer, npe2pm, manifest, qtbot):
    from qtpy.QtWidgets import QApplication, QLabel, QStatusBar

    npe2pm.register(manifest)
    viewer = real_viewer(show=True)
    (layer,) = viewer.open(put_oblique(tmp_path), plugin="napari-sam3d")  # switches it on
    viewer.mouse_over_canvas = True
    point(viewer, layer, (2, 1, 3))
    viewer.update_status_from_cursor()
    bars = [w.findChild(QStatusBar) for w in QApplication.topLevelWidgets() if w.isVisible()]
    labels = [label for bar in bars if bar for label in bar.findChildren(QLabel)]
    texts = [label.text() for label in labels]
    assert f" {cursor.describe(viewer)}: {layer.data[2, 1, 3]}" in texts
    said(cursor.describe(viewer))

"""What is picked in the 3D view, by a real mouse and by lines of sight anyone can follow."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sam3d._tests.plugin.view3d import (
    BLOBS,
    DIRECTIONS,
    PLACE,
    brightness,
    line_through,
    look_along,
    mouse,
    pixel_of,
    scene,
)
from napari_sam3d.plugin.canvas.picking import pick, pick_for
from napari_sam3d.plugin.canvas.prompt_layer import PromptLayer
from napari_sam3d.plugin.canvas.sight import Sight
from napari_sam3d.plugin.layers.convert import volume_from_layer

DENSE = 4000


def maxima(along, points, image):
    """Points that are as bright as the brightest, but for a shade or two."""
    return points[along >= along.max() - 0.01]


def cut_off(along, points, image):
    high = image.contrast_limits[1]
    return points[along >= high][:1] if along.max() >= high else maxima(along, points, image)


def weakened(along, points, image):
    step = np.linalg.norm(points[1] - points[0])
    passed = np.cumsum(np.clip(along, 0, 1)) * step
    return maxima(along * np.exp(-image.attenuation * (passed - 1)), points, image)


def crossing(along, points, image):
    return points[along > image.iso_threshold][:1]


def on_plane(along, points, image):
    normal, center = np.array(image.plane.normal), np.array(image.plane.position)
    return points[[np.argmin(np.abs((points - center) @ normal))]]


MODES = {
    "mip": ({"rendering": "mip", "contrast_limits": (0, 1)}, maxima),
    "mip, cut off": ({"rendering": "mip", "contrast_limits": (0, 0.4)}, cut_off),
    "attenuated_mip": ({"rendering": "attenuated_mip", "contrast_limits": (0, 1)}, weakened),
    "minip": ({"rendering": "minip", "contrast_limits": (0, 1)}, maxima),
    "iso": ({"rendering": "iso", "iso_threshold": 0.3}, crossing),
    "translucent": ({"rendering": "translucent"}, maxima),
    "additive": ({"rendering": "additive"}, maxima),
    "average": ({"rendering": "average"}, maxima),
    "plane": ({"depiction": "plane"}, on_plane),
}


@pytest.mark.parametrize(
    "every_blob", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "every blob"]
)
@pytest.mark.parametrize("mode", MODES)
def test_a_click_is_a_voxel_from_the_place_that_is_seen(real_viewer, mode, every_blob) -> None:
    settings, seen_along = MODES[mode]
    viewer = real_viewer(show=True)
    data = 1 - scene() if mode == "minip" else scene()
    image = viewer.add_image(data, **PLACE, **settings)
    prompts = PromptLayer(image, volume_from_layer(image))
    viewer.add_layer(prompts.layer)
    prompts.arm()
    viewer.dims.ndisplay = 3
    missed, errors = [], []
    prompts.refused.connect(missed.append)
    for i, direction in enumerate(DIRECTIONS):
        look_along(viewer, direction, perspective=45 * (i % 2))
        for center in BLOBS if every_blob else [list(BLOBS)[i % len(BLOBS)]]:
            if mode == "plane":
                image.plane.position = center
                image.plane.normal = (1, 0.3, 0.3) if direction[0] else (0.2, 1, 1)
            pixel = pixel_of(viewer, image, center)
            mouse(viewer, pixel)
            near, far = line_through(viewer, image, pixel)
            points = near + np.linspace(0, 1, DENSE)[:, None] * (far - near)
            expected = seen_along(brightness(points), points, image)
            placed = prompts.layer.data[-1]
            errors.append(np.linalg.norm(expected - placed, axis=1).min())
    assert not missed and len(prompts.layer.data) == len(errors) >= len(DIRECTIONS)
    print(f"{mode:16} {len(errors):3} clicks  {np.mean(errors):.2f} / {np.max(errors):.2f} voxels")
    assert np.max(errors) < 2
    assert np.mean(errors) < 0.9  # half of it is that points are placed at voxel centres


@pytest.mark.parametrize("rendering", ["mip", "minip"])
def test_a_pixel_is_as_bright_as_the_voxel_that_a_click_places(real_viewer, rendering) -> None:
    viewer = real_viewer(show=True)
    data = 1 - scene() if rendering == "minip" else scene()
    limits = (-0.2, 1.2)  # nothing is cut off
    image = viewer.add_image(data, **PLACE, rendering=rendering, contrast_limits=limits)
    prompts = PromptLayer(image, volume_from_layer(image))
    viewer.add_layer(prompts.layer)
    prompts.arm()
    prompts.layer.opacity = 0  # its points would cover the pixels
    viewer.dims.ndisplay = 3
    world = []
    prompts.clicks.seen.connect(world.append)
    for i, direction in enumerate(DIRECTIONS):
        look_along(viewer, direction, perspective=45 * (i % 2))
        z, row, column = list(BLOBS)[i % len(BLOBS)]
        x, y = pixel_of(viewer, image, (z + 1, row - 3, column + 2))  # where nothing is flat
        drawn = viewer.screenshot(flash=False)[y, x, 0] / 255
        mouse(viewer, (x, y))
        value = brightness(image.world_to_data(world[-1]))
        value = 1 - value if rendering == "minip" else value
        assert drawn == pytest.approx((value - limits[0]) / np.diff(limits)[0], abs=0.02)
    assert len(world) == len(DIRECTIONS)


# the same without a window: a line along z through (y, x) = (3, 4), but for what a test says


def look(*position, direction=(1.0, 0, 0), displayed=(0, 1, 2)) -> Sight:
    return Sight(np.array(position or (-50, 3, 4), float), np.array(direction, float), displayed)


def line(values, dtype=np.float32) -> np.ndarray:
    """An image that has these values along the line, and is black around it."""
    data = np.zeros((len(values), 8, 9), dtype)
    data[:, 3, 4] = values
    return data


def test_the_first_of_the_saturated_else_the_maximum() -> None:
    image = Image(line([0, 5, 0, 9, 0, 0]), contrast_limits=(0, 10))
    np.testing.assert_allclose(pick(image, look()), (3, 3, 4), atol=0.3)
    image.contrast_limits = (0, 4)
    np.testing.assert_allclose(pick(image, look()), (0.8, 3, 4), atol=0.3)
    backward = look(50, 3, 4, direction=(-1, 0, 0))
    np.testing.assert_allclose(pick(image, backward), (3.5, 3, 4), atol=0.3)


def test_a_threshold_is_crossed_between_two_samples() -> None:
    image = Image(line([0, 0, 10, 10, 10]), rendering="iso", iso_threshold=7)
    np.testing.assert_allclose(pick(image, look()), (1.7, 3, 4), atol=1e-3)
    image.iso_threshold = 11
    assert pick(image, look()) is None


def test_black_is_not_seen_and_nan_is_no_value() -> None:
    image = Image(line([0, 0, 0]), contrast_limits=(0, 10))
    assert pick(image, look()) is None
    image = Image(line([np.nan, np.nan, 0, 5, 0, np.nan]), contrast_limits=(0, 10))
    np.testing.assert_allclose(pick(image, look()), (3, 3, 4), atol=0.3)
    assert pick(Image(line([np.nan] * 4), contrast_limits=(0, 1)), look()) is None
    image.rendering, image.iso_threshold = "iso", 2.5
    np.testing.assert_allclose(pick(image, look()), (2.5, 3, 4), atol=1e-3)


def test_hidden_and_transparent_layers_and_colours_are_not_seen() -> None:
    image = Image(line([0, 9, 0]), contrast_limits=(0, 10))
    assert pick(image, look()) is not None
    image.opacity = 0
    assert pick(image, look()) is None
    image.opacity, image.visible = 0.1, False
    assert pick(image, look()) is None
    assert pick(Image(np.zeros((3, 8, 9, 3), np.uint8), rgb=True), look()) is None


def test_a_line_past_the_box_meets_nothing_and_its_faces_are_half_a_voxel_out() -> None:
    labels = Labels(np.ones((3, 8, 9), np.uint8))
    np.testing.assert_array_equal(pick(labels, look(-9, -0.49, 8.49)), (0, 0, 8))
    assert pick(labels, look(-9, -0.51, 4)) is None
    assert pick(labels, look(-9, 3, 8.51)) is None


def test_the_first_label_that_is_shown() -> None:
    labels = Labels(line([0, 3, 3, 2, 0, 1], np.uint8))
    np.testing.assert_array_equal(pick(labels, look()), (1, 3, 4))
    np.testing.assert_array_equal(pick(labels, look(), ids=(1, 2)), (3, 3, 4))
    assert pick(labels, look(), ids=(7,)) is None
    labels.selected_label, labels.show_selected_label = 2, True
    np.testing.assert_array_equal(pick(labels, look()), (3, 3, 4))
    assert pick(labels, look(), ids=(1,)) is None


def test_the_mask_that_is_refined_comes_before_the_image() -> None:
    image = Image(line([0, 0, 9, 0, 0, 0]), contrast_limits=(0, 10))
    labels = Labels(line([0, 2, 0, 0, 1, 1], np.uint8))
    np.testing.assert_array_equal(pick_for(image, look(), labels, 1), (4, 3, 4))
    np.testing.assert_array_equal(pick_for(image, look(), labels, 2), (1, 3, 4))
    for nothing in ((labels, 3), (None, 1)):
        np.testing.assert_allclose(pick_for(image, look(), *nothing), (2, 3, 4), atol=0.3)
    labels.visible = False
    np.testing.assert_allclose(pick_for(image, look(), labels, 1), (2, 3, 4), atol=0.3)


def test_clipping_planes_in_the_world() -> None:
    image = Image(line([0, 9, 0, 0, 8, 0, 0]), contrast_limits=(0, 10), scale=(3, 1, 1))
    plane = {"position": (3 * 2.5, 0, 0), "normal": (1, 0, 0), "enabled": True}
    image.experimental_clipping_planes = [plane]
    np.testing.assert_allclose(pick(image, look()), (4, 3, 4), atol=0.3)
    image.experimental_clipping_planes[0].normal = (-1, 0, 0)
    np.testing.assert_allclose(pick(image, look()), (1, 3, 4), atol=0.3)
    image.experimental_clipping_planes[0].position = (-9, 0, 0)
    assert pick(image, look()) is None


def test_the_plane_that_is_drawn_and_labels_on_it() -> None:
    plane = {"position": (2, 3, 4), "normal": (1, 0, 0)}
    image = Image(line([0, 9, 0, 0]), depiction="plane", plane=plane, scale=(2, 1, 1))
    np.testing.assert_allclose(pick(image, look()), (2, 3, 4))
    assert pick(image, look(-50, 3, 4, direction=(0, 1.0, 0))) is None
    labels = Labels(line([0, 5, 0, 0], np.uint8), depiction="plane", plane=plane)
    assert pick(labels, look()) is None
    labels.plane.position = (1, 3, 4)
    np.testing.assert_array_equal(pick(labels, look()), (1, 3, 4))


@pytest.mark.parametrize(
    "place",
    [
        {"scale": (3, 0.8, 0.8), "translate": (5, -7, 11)},
        {"scale": (-1, 2, 1), "rotate": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]},
        {"affine": [[1, 0.2, 0, 4], [0, 2, 0.1, 0], [0.3, 0, 1, 9], [0, 0, 0, 1]]},
    ],
)
@pytest.mark.parametrize("displayed", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_every_transform_and_order_of_axes(place, displayed) -> None:
    data = np.zeros((12, 13, 14), np.uint8)
    data[5, 6, 7] = 3
    labels = Labels(data, **place)
    for direction in ((1, 0.1, 0.2), (-0.3, 1, 0.4), (0.2, -0.5, -1)):
        direction = np.array(direction) / np.linalg.norm(direction)
        position = np.array(labels.data_to_world((5, 6, 7))) - 40 * direction
        sight = look(*position, direction=direction, displayed=displayed)
        np.testing.assert_array_equal(pick(labels, sight), (5, 6, 7))


def test_the_current_time_step() -> None:
    data = np.zeros((2, 6, 8, 9), np.uint8)
    data[0, 1, 3, 4], data[1, 4, 3, 4] = 200, 200
    image = Image(data, contrast_limits=(0, 255), scale=(5, 1, 1, 1))
    for step, depth in enumerate((1, 4)):
        sight = look(5 * step, -50, 3, 4, direction=(0, 1, 0, 0), displayed=(1, 2, 3))
        np.testing.assert_allclose(pick(image, sight), (step, depth, 3, 4), atol=0.3)
    assert pick(image, look(10, -50, 3, 4, direction=(0, 1, 0, 0), displayed=(1, 2, 3))) is None


def test_a_layer_of_fewer_dimensions_than_the_viewer() -> None:
    image = Image(line([0, 0, 9, 0]), contrast_limits=(0, 10))
    sight = look(7, -50, 3, 4, direction=(0, 1, 0, 0), displayed=(1, 2, 3))
    np.testing.assert_allclose(pick(image, sight), (2, 3, 4), atol=0.3)
    assert pick(image, look(7, -50, 3, 4, direction=(1, 0, 0, 0), displayed=(0, 1, 2))) is None


def test_a_coarse_level_is_looked_at_and_the_fine_one_answers() -> None:
    fine = np.zeros((32, 32, 32), np.float32)
    fine[9:12, 13:16, 17:20] = 5
    fine[10, 14, 18] = 9
    coarse = fine.reshape(8, 4, 8, 4, 8, 4).mean((1, 3, 5))
    image = Image([fine, coarse], contrast_limits=(0, 10))
    image.locked_data_level = 1
    assert image.data_level == 1
    np.testing.assert_allclose(pick(image, look(-50, 14, 18)), (10, 14, 18), atol=0.3)


@pytest.mark.parametrize("dtype", ["bool", ">i2", "f2", "u4", "f8"])
def test_every_number_format(dtype) -> None:
    image = Image(line([0, 0, 1, 0], dtype), contrast_limits=(0, 2))
    np.testing.assert_allclose(pick(image, look()), (2, 3, 4), atol=0.3)


def test_of_a_lazy_array_only_the_chunks_along_the_line_are_computed() -> None:
    import dask.array as da

    asked = []

    def block(block_info=None):
        asked.append(block_info[None]["chunk-location"])
        where = [slice(a, b) for a, b in block_info[None]["array-location"]]
        return sum(np.ogrid[tuple(where)]).astype(np.float32)

    data = da.map_blocks(block, chunks=((20,) * 10,) * 3, dtype=np.float32)
    image = Image(data, contrast_limits=(0, 1000))
    asked.clear()
    np.testing.assert_allclose(pick(image, look(-50, 30, 50)), (199.5, 30, 50), atol=0.6)
    assert sorted(asked) == [(i, 1, 2) for i in range(10)]


def test_arrays_that_only_know_slices() -> None:
    class Slices:
        """As h5py: no fancy indexing along several axes."""

        def __init__(self, data):
            self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
            self.read = 0

        def __getitem__(self, key):
            assert all(isinstance(k, int | slice) for k in np.atleast_1d(np.array(key, object)))
            found = self.data[key]
            self.read += found.size
            return found

    data = Slices(np.pad(line([0, 0, 7, 0]), ((150, 150), (100, 100), (100, 100))))
    image = Image(data, contrast_limits=(0, 10))
    data.read = 0
    found = pick(image, look(-50, 103, 104))
    np.testing.assert_allclose(found, (152, 103, 104), atol=0.3)
    assert data.read < 10_000

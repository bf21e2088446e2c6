"""Series of volumes: each step has its own objects, and what belongs to one never meets another."""

from __future__ import annotations

import dask.array as da
import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sam3d._tests.plugin.conftest import BallPredictor, ball, canvas_click
from napari_sam3d._tests.plugin.session.test_session import answer_all, click, shown
from napari_sam3d._tests.spy_array import SpyArray
from napari_sam3d.plugin.dock.resume_bar import Keeper
from napari_sam3d.plugin.files.save_plan import SavePlan, suggest
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.plugin.session.frames import STEP, step_of
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.unsaved.autosave import Autosave
from napari_sam3d.plugin.unsaved.kept_folder import key_of, left_work
from napari_sam3d.prompts import Point
from napari_sam3d.settings import InferenceSettings

SHAPE = (20, 24, 28)
SCALE = (2.5, 3.0, 1.0, 0.5)
FIRST, SECOND = (10, 12, 14), (6, 18, 8)


def film(steps: int = 4) -> np.ndarray:
    """Each volume is filled with the number of its step."""
    return np.broadcast_to(np.arange(steps, dtype=np.int16)[:, None, None, None], (steps, *SHAPE))


@pytest.fixture
def viewer() -> ViewerModel:
    model = ViewerModel()
    model.add_image(film(), name="film", scale=SCALE, translate=(5, -10, 5, 2))
    return model


@pytest.fixture
def session(viewer):
    it = Session(viewer)
    it.notices = []
    it.notice.connect(lambda sentence: it.notices.append(sentence))
    it.set_image(viewer.layers["film"])
    go_to(viewer, 1)
    return it


def go_to(viewer, step: int) -> None:
    viewer.dims.set_point(0, SCALE[0] * step + 5)


def masks(viewer) -> list[Labels]:
    return [layer for layer in viewer.layers if isinstance(layer, Labels)]


def test_the_volume_is_the_one_that_is_shown(viewer, session) -> None:
    for step in (0, 3, 1):
        go_to(viewer, step)
        assert session.volume.step == (step,) and session.volume.grid.shape == SHAPE
        assert session.volume.grid.spacing == SCALE[1:]
        assert (np.asarray(session.volume.data) == step).all()
    again = session.volume
    go_to(viewer, 2)
    go_to(viewer, 1)
    assert session.volume is again  # so that what was computed for it is still known


def test_each_step_has_its_objects_and_shows_them_alone(viewer, session) -> None:
    click(session, FIRST)
    answer_all(session)
    one = session.labels
    assert one.name == "film_seg step 1" and one.data.shape == SHAPE
    go_to(viewer, 3)
    assert not one.visible and len(session.prompt_layer.layer.data) == 0
    assert session.objects == {} and session.pending() is None
    for place in (SECOND, (6, 18, 11)):
        click(session, place)
        answer_all(session)
    three = session.labels
    np.testing.assert_array_equal(three.data == 1, ball(SHAPE, SECOND) | ball(SHAPE, (6, 18, 11)))
    go_to(viewer, 1)
    assert session.labels is one and one.visible and not three.visible
    np.testing.assert_array_equal(one.data == 1, ball(SHAPE, FIRST))
    np.testing.assert_array_equal(session.prompt_layer.layer.data, [FIRST])
    session.undo()
    assert not one.data.any() and (three.data == 1).any()
    go_to(viewer, 3)
    session.undo()
    np.testing.assert_array_equal(three.data == 1, ball(SHAPE, SECOND))


def test_steps_without_work_make_no_layers(viewer, session) -> None:
    count = len(viewer.layers)
    for step in (2, 3, 0, 2, 3, 1):
        go_to(viewer, step)
    assert len(viewer.layers) == count


def test_an_answer_that_comes_late_changes_no_other_step(viewer, session) -> None:
    click(session, FIRST)
    request = session.pending()
    answer = BallPredictor(InferenceSettings()).predict(request.volume, request.prompts)
    go_to(viewer, 2)
    assert not session.accept(request, answer)
    click(session, SECOND)
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, SECOND))
    go_to(viewer, 1)
    assert answer_all(session) == 1  # asked again, for its own step
    np.testing.assert_array_equal(shown(session), ball(SHAPE, FIRST))


def test_what_was_hidden_by_the_user_stays_hidden(viewer, session) -> None:
    click(session, FIRST)
    answer_all(session)
    session.labels.visible = False
    go_to(viewer, 2)
    go_to(viewer, 1)
    assert not session.labels.visible


def test_strokes_belong_to_their_step(viewer, session) -> None:
    click(session, FIRST)
    answer_all(session)
    session.labels.paint((2, 3, 4), 0)
    session.labels.paint((2, 3, 4), 1)
    painted = session.labels.data.copy()
    assert session.hand.edits.done
    go_to(viewer, 0)
    assert not session.hand.edits.done
    click(session, FIRST)
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, FIRST))
    go_to(viewer, 1)
    assert session.hand.edits.done
    click(session, (10, 12, 17))
    answer_all(session)
    np.testing.assert_array_equal(shown(session), (painted == 1) | ball(SHAPE, (10, 12, 17)))


def test_along_a_displayed_axis_nothing_can_be_placed(viewer, session) -> None:
    click(session, FIRST)
    answer_all(session)
    before = session.labels.data.copy()
    viewer.dims.order = (1, 2, 0, 3)
    assert "roll the axes" in session.notices[-1] and not session.labels.visible
    click(session, SECOND)
    assert "roll the axes" in session.notices[-1]
    assert len(session.prompt_layer.layer.data) == 1
    viewer.dims.order = (0, 1, 2, 3)
    assert session.labels.visible and len(session.prompt_layer.layer.data) == 1
    np.testing.assert_array_equal(session.labels.data, before)
    click(session, SECOND)
    assert len(session.prompt_layer.layer.data) == 2


def test_an_image_along_a_displayed_axis_is_refused(viewer) -> None:
    viewer.dims.order = (1, 2, 0, 3)
    it = Session(viewer)
    with pytest.raises(ValueError, match="The view shows film along its axis"):
        it.set_image(viewer.layers["film"])
    assert it.image is None


def test_beyond_the_last_step_nothing_can_be_placed(viewer, session) -> None:
    viewer.add_image(film(8), name="longer", scale=SCALE, translate=(5, -10, 5, 2))
    go_to(viewer, 6)
    assert session.notices[-1] == "film has nothing at this step: move the slider back."
    click(session, FIRST)
    assert not session.object.prompts.points


def test_five_axes_and_levels_and_chunks() -> None:
    viewer = ViewerModel()
    spies = [SpyArray((2, 3, n, n, n), (1, 1, 8, 8, 8), radius=5) for n in (32, 16)]
    image = viewer.add_image(spies, multiscale=True, contrast_limits=(0, 255), name="cells")
    session = Session(viewer)
    session.set_image(image)
    viewer.dims.set_point((0, 1), (1, 2))
    for spy in spies:
        spy.reads.clear()
    assert session.volume.step == (1, 2) == step_of(viewer, image)
    assert np.asarray(session.volume.data[14:18, 14:18, 14:18]).all()
    assert session.volume.coarser[0].grid.shape == (16, 16, 16)
    assert not spies[1].reads
    for window in spies[0].reads:
        assert (window[0].start, window[1].start) == (1, 2)
    assert spies[0].voxels_read <= 8 * 8**3


def test_a_volume_beside_a_film_has_no_steps(viewer) -> None:
    image = viewer.add_image(np.zeros(SHAPE), name="ct", scale=SCALE[1:])
    session = Session(viewer)
    session.set_image(image)
    click(session, FIRST)
    answer_all(session)
    go_to(viewer, 2)
    assert session.volume.step == () and session.labels.visible
    assert len(session.prompt_layer.layer.data) == 1


def test_a_film_that_leans_through_time_is_refused() -> None:
    viewer = ViewerModel()
    affine = np.eye(5)
    affine[1, 0] = 3
    image = viewer.add_image(film(), name="film", affine=affine)
    with pytest.raises(ValueError, match="film is rotated or sheared along"):
        Session(viewer).set_image(image)


def test_masks_of_all_steps_follow_an_image_that_moves(viewer, session) -> None:
    click(session, FIRST)
    answer_all(session)
    go_to(viewer, 2)
    click(session, SECOND)
    answer_all(session)
    session.image.translate = (5, 7, 8, 9)
    go_to(viewer, 1)
    assert not session.object.answers  # which know where the voxels were
    assert len(masks(viewer)) == 2
    for layer in masks(viewer):
        np.testing.assert_array_equal(layer.translate, (7, 8, 9))
    np.testing.assert_array_equal(shown(session), ball(SHAPE, FIRST))


def test_work_is_kept_and_offered_by_step(viewer, session, tmp_path) -> None:
    keys = set()
    kept = Autosave(session, folder=tmp_path)
    for step, place in ((1, FIRST), (3, SECOND)):
        go_to(viewer, step)
        kept.save()
        click(session, place)
        answer_all(session)
        kept.save()
        keys.add(key_of(session.volume, "film"))
    kept.close()
    assert len(keys) == 2
    other = ViewerModel()
    again = Session(other)
    again.set_image(other.add_image(film(), name="film", scale=SCALE, translate=(5, -10, 5, 2)))
    resumed = Autosave(again, folder=tmp_path)
    resumed.save()
    for step, place in ((0, None), (3, SECOND), (1, FIRST)):
        go_to(other, step)
        resumed.save()
        offered, _ = resumed.offer()
        assert (offered is None) == (place is None)
        if place is not None:
            resumed.resume()
            np.testing.assert_array_equal(shown(again), ball(SHAPE, place))
    resumed.close()


def test_nothing_is_lost_when_the_step_changes_at_once(viewer, session, tmp_path, qtbot) -> None:
    keeper = Keeper(session, Autosave(session, folder=tmp_path))
    keeper.autosave.save()
    key = key_of(session.volume, "film")
    click(session, FIRST)
    answer_all(session)
    go_to(viewer, 2)  # before the event loop has a turn
    keeper.close()
    _, kept, _ = left_work(tmp_path, key)
    assert kept.objects[1].prompts.points == (Point(FIRST),)
    assert kept.objects[1].shown is not None


def test_each_step_is_saved_in_a_file_of_its_own(tmp_path) -> None:
    from napari_sam3d.io import open_nifti
    from napari_sam3d.plugin.layers.convert import layer_data

    affine = np.diag([-0.5, 1.0, 3.0, 1.0])
    path = tmp_path / "film.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((*SHAPE[::-1], 4), np.int16), affine), path)
    viewer = ViewerModel()
    data, meta, _ = layer_data(open_nifti(path))
    image = viewer.add_image(data, **meta)
    session = Session(viewer)
    session.set_image(image)
    truth = {}
    for step, place in ((1, FIRST), (2, SECOND)):
        viewer.dims.set_point(0, step)
        click(session, place)
        answer_all(session)
        truth[session.labels] = shown(session)
    folder, names = suggest(list(truth), viewer.layers)
    assert names == ["film_seg_step_1.nii.gz", "film_seg_step_2.nii.gz"]
    assert suggest(list(truth)[:1], viewer.layers)[1] == names[:1]
    for export, mask in zip(
        SavePlan(tuple(truth), tuple(names), folder).exports(), truth.values(), strict=True
    ):
        written, _ = export.write()
        found = nib.load(written)
        np.testing.assert_array_equal(found.affine, affine)
        again = open_nifti(written)
        np.testing.assert_array_equal(np.asarray(again.data) == 1, mask)


def test_the_dock_goes_from_step_to_step(real_viewer, loader, qtbot) -> None:
    viewer = real_viewer(show=True)
    image = viewer.add_image(da.from_array(film(), chunks=(1, 10, 10, 10)), name="film")
    dock = SegmentWidget(viewer, loader)
    viewer.window.add_dock_widget(dock, name="Segment")
    qtbot.waitUntil(dock.isVisible)

    def click_at(step: int, voxel) -> None:
        viewer.dims.set_point(0, step)
        before = len(loader.predictor.calls)
        viewer.dims.set_point((1, 2, 3), voxel)
        canvas_click(viewer, (step, *voxel), image)
        qtbot.waitUntil(lambda: len(loader.predictor.calls) > before)
        qtbot.waitUntil(lambda: dock.session.labels is not None and bool(shown(dock.session).any()))

    click_at(1, FIRST)
    np.testing.assert_array_equal(shown(dock.session), ball(SHAPE, FIRST))
    loader.predictor.go.clear()
    viewer.dims.set_point(0, 2)
    canvas_click(viewer, (2, *SECOND), image)
    qtbot.waitUntil(lambda: len(loader.predictor.calls) == 2)
    viewer.dims.set_point(0, 1)  # before the answer is there
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    loader.predictor.go.set()
    np.testing.assert_array_equal(shown(dock.session), ball(SHAPE, FIRST))
    viewer.dims.set_point(0, 2)
    qtbot.waitUntil(lambda: bool(shown(dock.session).any()))
    np.testing.assert_array_equal(shown(dock.session), ball(SHAPE, SECOND))
    assert [layer.visible for layer in masks(viewer)] == [
        layer.metadata[STEP] == (2,) for layer in masks(viewer)
    ]

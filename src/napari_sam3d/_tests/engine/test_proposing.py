"""What is proposed without a click lies where the class is to be expected, or is not proposed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.test_fixed import predictor as fixed
from napari_sam3d._tests.engine.training.small import Brightness, ball, small_spec
from napari_sam3d.engine.adapter_facts import AdapterFacts
from napari_sam3d.engine.brightness import Ranks
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.prediction import Cancelled
from napari_sam3d.engine.predictor import predictor_of
from napari_sam3d.engine.proposing import candidates, propose, refusal
from napari_sam3d.engine.training.priors import priors_of
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume
from napari_sam3d.windows import moved


@pytest.fixture(autouse=True)
def _alone(one_thread):
    pass


def predictor():
    """Says that what is brighter than most of a patch is foreground."""
    model = Brightness().eval().requires_grad_(False)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([20.0, 20.0, 0.0]).reshape(1, 3, 1, 1, 1))
        model.head.bias.fill_(-10.0)
    spec = replace(small_spec(), patch_shape=(16, 16, 16))
    return predictor_of(model, spec, InferenceSettings(device="cpu"))


def facts(*cases: Labelled, **other) -> AdapterFacts:
    told = {"model": "compact", "family": "compact", "base_sha256": "0", "name": "balls"}
    return AdapterFacts(**{**told, "priors": priors_of(cases), **other})


def test_an_object_is_found_where_it_is_to_be_expected():
    known = facts(ball("one", 4), ball("two", 5))
    case = ball("new", 4.5, seed=7)
    shares: list[float] = []
    (proposal,) = propose(predictor(), case.volume, known, progress=shares.append)
    assert (proposal.label, proposal.name, proposal.reason) == (3, "label 3", "")
    found = proposal.found
    assert found is not None and (found.model, found.name) == ("compact", "label 3")
    mask = np.zeros(case.volume.grid.shape, bool)
    mask[found.window] = found.mask
    assert dice(mask, case.labels > 0) > 0.8 and 0 < proposal.score <= 1
    assert shares == sorted(shares) and shares[-1] == 1


def test_networks_with_heavy_patches_see_one_patch_for_all_clicks():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[15:25, 18:26, 14:24] = 1
    image = 100 * labels.astype(np.int16)
    case = Labelled(Volume(image, Grid.from_spacing(labels.shape, (1, 1, 1)), "x"), labels)
    it = fixed(way="fixed")
    (proposal,) = propose(it, case.volume, facts(case))
    assert proposal.found is not None and proposal.score == 0.5
    np.testing.assert_array_equal(proposal.found.mask, labels[proposal.found.window] > 0)
    assert int(proposal.found.mask.sum()) == 800
    assert len(it.model.asked) > 3 and len(it.model.encoded) == 1


def test_the_mask_is_what_most_of_the_good_answers_say():
    """Seven clicks; the network is wrong at those below the middle, in a way that is likely."""

    class Sometimes(Brightness):
        def decode_masks(self, embedding, prompts):
            masks = super().decode_masks(embedding, prompts)
            self.asked = getattr(self, "asked", 0) + 1
            wrong = self.asked % 7 == 0
            return replace(masks, logits=masks.logits - 100.0 * wrong)

    known, case = facts(ball("one", 4), ball("two", 5)), ball("new", 4.5, seed=7)
    (right,) = propose(predictor(), case.volume, known)
    it = predictor()
    odd = Sometimes().eval().requires_grad_(False)
    odd.load_state_dict(it.model.state_dict())
    it.model = odd
    (proposal,) = propose(it, case.volume, known)
    assert odd.asked >= 7 and proposal.found is not None and right.found is not None
    assert (
        dice(
            proposal.found.mask, moved(right.found.mask, right.found.window, proposal.found.window)
        )
        > 0.95
    )


def test_later_clicks_go_on_from_what_was_found():
    known, case = facts(ball("one", 4), ball("two", 5)), ball("new", 4.5, seed=7)
    (proposal,) = propose(predictor(), case.volume, known)
    begun = Prompts(start=proposal.found).add(Point((8.0, 9.0, 10.0)))
    assert begun.start is proposal.found and begun.locates


def test_nothing_is_proposed_where_there_is_nothing():
    known = facts(ball("one", 4), ball("two", 5))
    empty = ball("empty", 0.0)
    (proposal,) = propose(predictor(), empty.volume, known)
    assert proposal.found is None and proposal.reason.startswith("label 3 was not found")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cases": 1, "of": 3}, "label 3 was in 1 of 3 training volumes only."),
        ({"parts": 2.5}, "label 3 had 2.5 parts in a volume"),
        ({"centre_spread": (0.1, 0.25, 0.1)}, "label 3 lay anywhere in the training volumes."),
    ],
)
def test_classes_that_cannot_be_expected_are_left_out(change, sentence):
    known = facts(ball("one", 4), ball("two", 5))
    (prior,) = known.priors
    odd = replace(prior, **change)
    with pytest.raises(ValueError, match=sentence):
        propose(predictor(), ball("new").volume, replace(known, priors=(odd,)))
    both = replace(known, priors=(odd, replace(prior, label=4, name="femur")))
    assert refusal(both) == ""
    first, second = propose(predictor(), ball("new").volume, both)
    assert first.found is None and sentence in first.reason
    assert second.found is not None and (second.label, second.name) == (4, "femur")


def test_in_a_volume_of_another_extent_nothing_is_looked_for():
    known = facts(ball("one", 4), ball("two", 5))
    case = ball("new", 4.5, seed=7)
    wide = replace(case.volume, grid=Grid.from_spacing(case.volume.grid.shape, (1, 1, 3)))
    (proposal,) = propose(predictor(), wide, known)
    assert proposal.found is None
    assert proposal.reason.startswith(
        "The image spans 16 x 18 x 60 mm, the training volumes 16 x 18 x 20 mm"
    )
    (older,) = propose(
        predictor(), wide, replace(known, priors=(replace(known.priors[0], extent_mm=None),))
    )
    assert "spans" not in older.reason


def test_an_adapter_of_older_versions_is_refused():
    known = facts()
    assert "balls does not know where its objects lie" in refusal(known)
    with pytest.raises(ValueError, match="balls does not know"):
        propose(predictor(), ball("new").volume, known)


def test_the_search_ends_when_it_is_not_wanted_any_more():
    with pytest.raises(Cancelled):
        propose(predictor(), ball("new").volume, facts(ball("one")), cancelled=lambda: True)


def test_candidates_lie_in_the_volume_and_the_likeliest_comes_first():
    case = ball("one", 3)
    (prior,) = priors_of([case])
    off = replace(prior, centre=(0.1, 0.5, 0.5), centre_spread=(0.4, 0.0, 0.0))
    points = np.array(candidates(case.volume, off, Ranks(case.volume)))
    assert (points >= 0).all() and (points < case.volume.grid.shape).all()
    assert len(np.unique(points, axis=0)) == len(points)
    first = points[0]  # not at the expected place, where all is dark, but where it is bright
    assert case.labels[tuple(first.astype(int))] == 3

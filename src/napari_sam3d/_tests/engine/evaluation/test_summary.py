"""What a summary says, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from napari_sam3d._tests.engine.evaluation.scored import case, clicks, scored
from napari_sam3d._tests.test_imports import SLOW, loaded_by
from napari_sam3d.engine.evaluation.challenge_scores import challenge_rows
from napari_sam3d.engine.evaluation.summary import summarise

NAN, INF = math.nan, math.inf


def two() -> list:
    """Two classes, of which the second is in one of two cases only."""
    return [
        case(
            "a",
            scored("liver", 1, clicks(0.5, 0.7, 0.9, 0.9, 1.0, box=0.4)),
            scored("spleen", 2, clicks(0.3, 0.3, 0.5, 0.7, 0.8, box=0.2)),
        ),
        case("b", scored("liver", 1, clicks(0.7, 0.7, 0.7, 0.7, 0.7, box=0.7))),
    ]


def test_cases_and_classes_have_means_of_their_own():
    found = summarise("cvpr25", 2.0, two())
    assert [it.name for it in found.rounds] == ["box", "1", "2", "3", "4", "5"]
    last = found.rounds[-1]
    assert last.case_dice == pytest.approx((0.9 + 0.7) / 2)
    assert last.class_dice == pytest.approx(((1.0 + 0.7) / 2 + 0.8) / 2)
    assert last.dice.count == 3
    assert last.dice.mean == pytest.approx(2.5 / 3)
    assert (last.dice.low, last.dice.median, last.dice.high) == pytest.approx((0.75, 0.8, 0.9))
    liver, spleen = found.classes
    assert (liver.label, liver.name, liver.cases, liver.objects) == (1, "liver", 2, 2)
    assert (spleen.label, spleen.name, spleen.cases, spleen.objects) == (2, "spleen", 1, 1)
    assert liver.dice == pytest.approx((0.55, 0.6, 0.7, 0.8, 0.8, 0.85))


def test_instances_of_a_class_count_together_in_their_case():
    parts = [scored("cell", 4, clicks(dice), label=n) for n, dice in ((1, 0.2), (2, 0.4))]
    found = summarise("cvpr25", 2.0, [case("a", *parts), case("b", scored("cell", 4, clicks(0.9)))])
    (cell,) = found.classes
    assert (cell.label, cell.cases, cell.objects) == (4, 2, 3)
    assert cell.dice == pytest.approx(((0.3 + 0.9) / 2,))


def test_the_challenge_has_areas_over_clicks_without_the_box():
    found = summarise("cvpr25", 2.0, two()).challenge
    assert found.clicks == 5
    # case a: mean Dice 0.4, 0.5, 0.7, 0.8, 0.9; case b: 0.7 throughout
    first = 0.4 / 2 + 0.5 + 0.7 + 0.8 + 0.9 / 2
    assert found.with_failed.dsc_auc == pytest.approx((first + 2.8) / 2)
    assert found.with_failed.dsc_final == pytest.approx(0.8)
    assert found.with_failed == found.without_failed


@pytest.mark.parametrize(("score", "area"), [(1.0, 4.0), (0.0, 0.0)])
def test_perfect_and_empty_predictors_have_areas_4_and_0(score, area):
    cases = [case(name, scored("x", 1, clicks(*[score] * 5, box=score))) for name in "abc"]
    found = summarise("cvpr25", 2.0, cases).challenge.with_failed
    assert (found.dsc_auc, found.nsd_auc) == (area, area)
    assert (found.dsc_final, found.nsd_final) == (score, score)


def test_surfaces_do_not_count_where_the_mean_dice_is_poor():
    first = scored("x", 1, clicks(0.1, 0.2, 0.3, 0.3, 0.3), [0.9] * 5)
    second = scored("y", 2, clicks(0.2, 0.2, 0.3, 0.3, 0.3), [0.7] * 5)
    found = summarise("cvpr25", 2.0, [case("a", first, second)])
    # 0.15 and exactly 0.2 do not count
    assert [it.case_nsd for it in found.rounds] == pytest.approx([0, 0, 0.8, 0.8, 0.8])
    assert found.challenge.with_failed.nsd_auc == pytest.approx(0.4 + 0.8 + 0.8)
    assert [it.class_nsd for it in found.rounds] == pytest.approx([0.8] * 5)  # as measured
    other = summarise("sam-med3d", 1.0, [case("a", first, second)])
    assert [it.case_nsd for it in other.rounds] == pytest.approx([0.8] * 5)
    assert other.challenge is None


def test_a_failed_case_counts_0_and_is_left_out():
    found = summarise("cvpr25", 2.0, [*two(), case("c", error="It is broken.")])
    assert (found.challenge.with_failed.cases, found.challenge.without_failed.cases) == (3, 2)
    assert found.challenge.with_failed.dsc_final == pytest.approx(1.6 / 3)
    assert found.challenge.without_failed.dsc_final == pytest.approx(0.8)
    assert found.rounds[-1].case_dice == pytest.approx(0.8)
    assert [it.case for it in found.failed] == ["c"]


def test_nothing_but_failures():
    found = summarise("cvpr25", 2.0, [case("c", error="It is broken.")])
    assert found.rounds == found.classes == found.reached == found.objects == ()
    assert found.challenge.with_failed.dsc_auc == 0
    assert math.isnan(found.challenge.without_failed.dsc_auc)
    assert summarise("ma-sam", 5.0, []).cases == ()


def test_a_case_without_a_box_is_0_there_in_the_file_only():
    cases = [two()[0], case("b", scored("liver", 1, clicks(0.5, 0.5, 0.5, 0.5, 0.5)))]
    found = summarise("cvpr25", 2.0, cases)
    assert found.rounds[0].dice.count == 2
    assert found.rounds[0].case_dice == pytest.approx(0.3)
    first, second = challenge_rows(cases)
    assert list(first) == [
        *("CaseName", "TotalRunningTime"),
        *(f"RunningTime_{n}" for n in range(1, 7)),
        *("DSC_AUC", "NSD_AUC", "DSC_Final", "NSD_Final"),
        *(f"DSC_{n}" for n in range(1, 7)),
        *(f"NSD_{n}" for n in range(1, 7)),
        *("num_class", "runtime_upperbound"),
    ]
    assert (first["CaseName"], first["num_class"], first["runtime_upperbound"]) == ("a", 2, 180)
    assert first["RunningTime_1"] == 4.0
    assert first["TotalRunningTime"] == 4.0 + 5 * 1.0
    assert first["DSC_1"] == pytest.approx(0.3)
    assert (second["DSC_1"], second["RunningTime_1"], second["DSC_2"]) == (0, 0, 0.5)
    assert second["DSC_AUC"] == pytest.approx(2.0)


def test_other_numbers_of_clicks():
    found = summarise("cvpr25", 2.0, [case("a", scored("x", 1, clicks(0.2, 0.4, 0.6)))])
    assert found.challenge.clicks == 3
    assert found.challenge.with_failed.dsc_auc == pytest.approx(0.8)
    found = summarise("cvpr25", 2.0, [case("a", scored("x", 1, clicks(0.6, box=0.1)))])
    assert math.isnan(found.challenge.with_failed.dsc_auc)
    assert found.challenge.with_failed.dsc_final == 0.6
    found = summarise("cvpr25", 2.0, [case("a", scored("x", 1, {"box": 0.6}))])
    assert math.isnan(found.challenge.with_failed.dsc_final)


def test_cases_with_different_clicks_are_not_put_together():
    cases = [*two(), case("c", scored("x", 1, clicks(0.2, 0.4, 0.6)))]
    with pytest.raises(ValueError, match="c was played with 3 clicks, b with 5"):
        summarise("cvpr25", 2.0, cases)


def test_cases_slower_than_90_seconds_a_class_are_counted():
    one, other = two()
    slow = replace(one.objects[0], rounds=(replace(one.objects[0].rounds[0], seconds=178.0),))
    rounds = (*slow.rounds, *one.objects[0].rounds[1:])  # 178 + 2.5 + 4.5 s of 180
    late = replace(one, objects=(replace(slow, rounds=rounds), one.objects[1]))
    assert summarise("cvpr25", 2.0, [late, other]).challenge.slow == 1
    assert summarise("cvpr25", 2.0, [one, other]).challenge.slow == 0


def test_empty_objects_are_left_out_and_by_ma_sam_count_1():
    cases = [
        case("a", scored("x", 1, {"tight": 0.4}), scored("y", 2, {"tight": NAN})),
        case("b", scored("x", 1, {"tight": 0.6})),
    ]
    found = summarise("sam-med3d", 1.0, cases)
    assert found.rounds[0].case_dice == pytest.approx(0.5)
    assert found.rounds[0].class_dice == pytest.approx(0.5)
    assert found.rounds[0].dice.count == 2
    found = summarise("ma-sam", 5.0, cases)
    assert found.rounds[0].case_dice == pytest.approx((0.7 + 0.6) / 2)
    assert found.rounds[0].class_dice == pytest.approx((0.5 + 1.0) / 2)
    assert found.rounds[0].case_nsd == pytest.approx(0.5)  # which medpy does not measure
    assert found.reached == ()


def test_distances_without_end_are_counted_apart():
    objects = [scored("x", 1, clicks(0.4)) for _ in range(4)]
    ends = (2.0, INF, 8.0, NAN)
    objects = [
        replace(it, rounds=(replace(it.rounds[0], hd95_mm=end),))
        for it, end in zip(objects, ends, strict=True)
    ]
    found = summarise("sam-med3d", 1.0, [case("a", *objects)]).rounds[0]
    assert (found.hd95_mm, found.hd95_infinite) == (5.0, 1)


def test_clicks_to_a_dice_with_those_that_never_reach_it():
    cases = [
        case(
            "a",
            scored("x", 1, clicks(0.5, 0.81, 0.7, 0.9, 0.9, box=0.3)),
            scored("y", 2, clicks(0.9, 0.9, 0.9, 0.9, 0.9, box=0.8)),
            scored("z", 3, clicks(0.1, 0.1, 0.1, 0.1, 0.1, box=0.1)),
        )
    ]
    eighty, _, ninety = summarise("cvpr25", 2.0, cases).reached
    assert (eighty.dice, eighty.share, eighty.never) == (0.8, pytest.approx(2 / 3), 6)
    assert (eighty.median, eighty.mean) == (2, pytest.approx((2 + 0 + 6) / 3))  # 0: by its box
    assert (ninety.median, ninety.mean) == (4, pytest.approx((4 + 1 + 6) / 3))


def test_clicks_are_those_that_a_round_is_named_after():
    cases = [case("a", scored("x", 1, {"1": 0.5, "3": 0.8, "10": 0.7}))]
    found = summarise("3dsam-adapter", 5.0, cases)
    assert [it.name for it in found.rounds] == ["1", "3", "10"]
    assert [it.median for it in found.reached] == [3, 11, 11]


def test_first_predictions_are_timed_apart_and_those_not_made_are_not():
    it = scored("x", 1, clicks(0.5, 0.6, 0.7))
    perfect = replace(it, rounds=(*it.rounds[:2], replace(it.rounds[2], seconds=0.0)))
    found = summarise("sam-med3d", 1.0, [case("a", it, perfect)])
    assert (found.first_seconds.count, found.first_seconds.median) == (2, 2.0)
    assert (found.later_seconds.count, found.later_seconds.late) == (3, 0.5)
    assert (found.seconds, found.peak_bytes) == (60.0, 2**30)


def test_summaries_need_no_torch():
    assert loaded_by("import napari_sam3d.engine.evaluation.table", *SLOW) == ""

"""The text of a small evaluation, and its rows through CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d._tests.engine.evaluation.scored import case, clicks, scored
from napari_sam3d.engine.evaluation.case_json import to_json
from napari_sam3d.engine.evaluation.summary import summarise
from napari_sam3d.engine.evaluation.table import counted, rows, table

CASES = (
    case(
        "a",
        scored("liver", 1, clicks(0.5, 0.9, box=0.4), [0.3, 0.4, 0.8]),
        scored("spleen", 2, clicks(0.3, 0.7, box=0.2), [math.nan] * 3),
    ),
    case("b", scored("liver", 1, clicks(0.7, 0.8, box=0.7))),
    case("c|d", error="c.nii.gz is\nbroken."),
)
EXPECTED = """\
3 objects of 2 classes in 2 cases; 1 case failed.

### Mean of cases, 2 clicks, areas 0 to 1 (cvpr25, NSD at 2.5 mm)

|                       | cases | DSC_AUC | NSD_AUC | DSC_Final | NSD_Final |
| --------------------- | ----: | ------: | ------: | --------: | --------: |
| failed cases count 0  |     3 |   0.450 |   0.450 |     0.533 |     0.533 |
| failed cases left out |     2 |   0.675 |   0.675 |     0.800 |     0.800 |

### By round (cvpr25, NSD at 2.5 mm)

| round                             |   box |     1 |     2 |
| --------------------------------- | ----: | ----: | ----: |
| Dice, mean of cases               | 0.500 | 0.550 | 0.800 |
| Dice, mean of classes             | 0.375 | 0.450 | 0.775 |
| Dice, lower quartile of objects   | 0.300 | 0.400 | 0.750 |
| Dice, median of objects           | 0.400 | 0.500 | 0.800 |
| Dice, upper quartile of objects   | 0.550 | 0.600 | 0.850 |
| NSD, mean of cases                | 0.500 | 0.550 | 0.800 |
| NSD, mean of classes              | 0.500 | 0.550 | 0.800 |
| NSD, median of objects            | 0.500 | 0.550 | 0.800 |
| HD95 in mm, median of finite ones |     6 |     5 |     2 |
| HD95 infinite, objects            |     0 |     0 |     0 |
| objects                           |     3 |     3 |     3 |

### By class, mean of its cases (cvpr25, NSD at 2.5 mm)

| class           | label | cases | objects | Dice box | Dice 1 | Dice 2 | NSD 2 |
| --------------- | ----: | ----: | ------: | -------: | -----: | -----: | ----: |
| liver           |     1 |     2 |       2 |    0.550 |  0.600 |  0.850 | 0.800 |
| spleen          |     2 |     1 |       1 |    0.200 |  0.300 |  0.700 |     - |
| mean of classes |       |     2 |       3 |    0.375 |  0.450 |  0.775 | 0.800 |
| mean of cases   |       |     2 |       3 |    0.500 |  0.550 |  0.800 | 0.800 |

NSD of a case counts 0 where its mean Dice is 0.2 or less; NSD of a class is as measured.

### Clicks to a Dice, over objects (cvpr25, NSD at 2.5 mm)

| Dice | reached by | median clicks | mean clicks |
| ---- | ---------: | ------------: | ----------: |
| 0.80 |        67% |             2 |        2.33 |
| 0.85 |        33% |             3 |        2.67 |
| 0.90 |        33% |             3 |        2.67 |

Objects that do not reach it count as 3 clicks; a box is no click.

### Time and memory (cvpr25, NSD at 2.5 mm)

| seconds a prediction | median | 95th percentile | predictions |
| -------------------- | -----: | --------------: | ----------: |
| first of an object   |      2 |               2 |           3 |
| later ones           |    0.5 |             0.5 |           6 |

Peak memory 1.00 GiB; 180 s for all, with reading and scoring.

### Failed cases (cvpr25, NSD at 2.5 mm)

- c\\|d: c.nii.gz is broken."""


def nearly(value):
    """A JSON value whose numbers may differ in their last digits."""
    if isinstance(value, dict):
        return {key: nearly(it) for key, it in value.items()}
    if isinstance(value, list):
        return [nearly(it) for it in value]
    return pytest.approx(value) if isinstance(value, float) else value


def test_the_text_of_a_small_evaluation():
    assert table(summarise("cvpr25", 2.5, CASES)).splitlines() == EXPECTED.splitlines()


@pytest.mark.parametrize("protocol", ["cvpr25", "sam-med3d", "3dsam-adapter", "ma-sam"])
def test_every_heading_tells_the_tolerance(protocol):
    text = table(summarise(protocol, 1.0, CASES))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) >= 5
    assert all(f"({protocol}, NSD at 1 mm)" in line for line in headings)


def test_five_clicks_are_those_of_the_challenge_and_slow_ones_are_told():
    it = scored("x", 1, clicks(*[0.5] * 5))
    slow = replace(it, rounds=(replace(it.rounds[0], seconds=91.0), *it.rounds[1:]))
    text = table(summarise("cvpr25", 2.0, [case("a", it), case("b", slow)]))
    assert "the challenge's 5 clicks, areas 0 to 4" in text
    assert "| all cases |     2 |   2.000 |" in text
    assert "longer than the challenge's 90 s a class in 1 case; nothing was taken off" in text
    assert "failed" not in text


def test_many_rounds_are_thinned_in_the_table_of_classes_only():
    text = table(summarise("sam-med3d", 1.0, [case("a", scored("x", 1, clicks(*[0.5] * 10)))]))
    titles = [line for line in text.splitlines() if line.startswith(("| round", "| class"))]
    assert [cell.strip() for cell in titles[0].split("|")[2:-1]] == [str(n) for n in range(1, 11)]
    shown = [cell.strip() for cell in titles[1].split("|")[5:-1]]
    assert shown == [*(f"Dice {n}" for n in (1, 3, 5, 6, 8, 10)), "NSD 10"]


OBJECTS = st.builds(
    scored,
    st.text(max_size=12),
    st.integers(1, 3),
    st.lists(st.floats(0, 1) | st.just(math.nan), min_size=3, max_size=3).map(
        lambda dices: clicks(*dices)
    ),
)
EVALUATED = st.lists(
    st.builds(lambda name, objects: case(name, *objects), st.text(), st.lists(OBJECTS, max_size=3))
    | st.builds(lambda name, error: case(name, error=error), st.text(), st.text(min_size=1)),
    max_size=4,
)


@settings(deadline=None, max_examples=80)
@given(cases=EVALUATED, protocol=st.sampled_from(["cvpr25", "sam-med3d", "ma-sam"]))
def test_whatever_they_are_called_the_columns_stand_below_each_other(cases, protocol):
    text = table(summarise(protocol, 2.0, cases))
    for part in text.split("\n\n"):
        lines = part.split("\n")
        if lines[0].startswith("| "):
            bars = [[i for i, c in enumerate(it) if c == "|" and it[i - 1] != "\\"] for it in lines]
            assert bars.count(bars[0]) == len(bars)
        else:
            assert len(lines) == 1 or all(it.startswith("- ") for it in lines)


@settings(deadline=None, max_examples=80)
@given(cases=EVALUATED, protocol=st.sampled_from(["cvpr25", "sam-med3d", "ma-sam"]))
def test_the_order_of_cases_is_of_no_account(cases, protocol):
    found, other = (replace(summarise(protocol, 2.0, it), cases=()) for it in (cases, cases[::-1]))
    assert repr(found) == repr(other) or to_json(found) == nearly(to_json(other))


def test_nothing_but_failures():
    text = table(summarise("ma-sam", 5.0, [case("a", error="It is broken.")]))
    assert text.splitlines() == [
        "0 objects of 0 classes in 0 cases; 1 case failed.",
        "",
        "### Failed cases (ma-sam, NSD at 5 mm)",
        "",
        "- a: It is broken.",
    ]


def test_plurals():
    one = case("a", scored("x", 1, clicks(0.5)))
    assert counted(summarise("ma-sam", 5.0, [one])) == "1 object of 1 class in 1 case."


def test_rows_are_the_same_after_csv():
    said = ((1.5, 2.0, 3.0, 1.0), (0.0, 0.0, 0.0, 4.0, 4.0, 4.0))
    odd = scored('a "b", c', 3, {"1": 1 / 3}, [math.nan], label=7)
    odd = replace(odd, rounds=(replace(odd.rounds[0], hd95_mm=math.inf, said=said),))
    found = rows([*CASES, case("d", odd)])
    assert len(found) == 3 * 3 + 1
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[0]))
    writer.writeheader()
    writer.writerows(found)
    again = list(csv.DictReader(io.StringIO(text.getvalue())))
    for row, other in zip(found, again, strict=True):
        read = {key: type(value)(other[key]) for key, value in row.items()}
        assert repr(read) == repr(row)  # to the last digit, and what is no number is itself
    last = again[-1]
    assert (last["case"], last["class"], last["name"]) == ("d", "3", 'a "b", c')
    assert (last["instance"], last["round"], last["hd95"]) == ("7", "1", "inf")
    assert tuple(map(tuple, json.loads(last["said"]))) == said

"""MA-SAM over volumes: the released test loop, boxes, and what is kept in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.models.ma_sam import MaSam, segment_slices, segment_volume
from napari_sam3d.engine.models.ma_sam.intensity import Intensity, prostate_intensity
from napari_sam3d.engine.models.ma_sam.model import ClassLogits, GroupEmbedding
from napari_sam3d.engine.models.ma_sam.volume import GroupCache

GOLDEN = Path(__file__).parents[2] / "golden"
AS_IT_IS = Intensity(0.0, 1.0, per_group=False)


class Stub:
    """The network behind the golden test volume: three classes from the pixels themselves."""

    image_size, classes = 32, 2

    def __init__(self) -> None:
        self.encoded: list[torch.Tensor] = []
        self.boxes: list[torch.Tensor | None] = []

    def encode_image(self, patch):
        self.encoded.append(patch)
        number = torch.arange(patch.shape[2]).view(-1, 1, 1).expand(patch.shape[2:])
        return GroupEmbedding(torch.stack([patch[0, 0], number], 1), patch.shape[2])

    def decode_classes(self, embedding, boxes=None):
        self.boxes.append(boxes)
        x, number = embedding.image.unbind(1)
        mean = F.avg_pool2d(x[:, None], 3, 1, 1)[:, 0]
        masks = [torch.full_like(x, 0.5), 2 * (x + mean) - 0.1 * number, 3 * mean.roll(2, -1)]
        return ClassLogits(torch.stack(masks)[None], torch.zeros(1, 3, len(x)))


def run(steps):
    """The value of a generator, and what it yielded."""
    yielded = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as end:
            return end.value, yielded


def test_the_released_test_loop():
    g = load_file(GOLDEN / "ma_sam_test_volume.safetensors")
    volume = g["same.in.volume"].numpy()
    stub = Stub()
    found = list(segment_slices(stub, volume, intensity=AS_IT_IS))
    assert [one.index for one in found] == list(range(7))
    assert [one.groups for one in found] == [3, 4, 5, 5, 5, 4, 3]
    released = np.stack([one.released for one in found]).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(released, g["same.out.probability_padded"][2:-2].numpy(), atol=1e-6)
    np.testing.assert_allclose([one.probabilities.sum(0) for one in found], 1, atol=1e-5)
    labels, fractions = run(segment_volume(Stub(), volume, intensity=AS_IT_IS))
    np.testing.assert_array_equal(labels, g["same.out.prediction"].numpy())
    assert len(stub.encoded) == 7  # once for each group
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_a_volume_thinner_than_a_group():
    volume = np.random.default_rng(0).random((1, 32, 32), dtype=np.float32)
    stub = Stub()
    (one,) = segment_slices(stub, volume, intensity=AS_IT_IS)
    assert one.groups == 1 and one.fraction == 1
    assert (stub.encoded[0] == stub.encoded[0][:, :, :1]).all()  # the slice five times


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 11, 13])
@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_every_slice_is_seen_and_told_once(n, step):
    stub = Stub()
    found = list(segment_slices(stub, np.zeros((n, 32, 32)), intensity=AS_IT_IS, step=step))
    assert [one.index for one in found] == list(range(n))
    assert all(one.groups >= 1 for one in found)
    assert len(stub.encoded) <= -(-n // step) + 1


def test_intensities():
    def apply(intensity, values):
        clipped = intensity.clip(np.array(values, float))
        return intensity.scale(torch.from_numpy(clipped)).tolist()

    told = model_spec("ma_sam_btcv").intensity
    ct = Intensity(told.low, told.high)
    assert apply(ct, [-1000, -200, 25, 250, 3000]) == pytest.approx([0, 0, 0.5, 1, 1])
    assert apply(ct, [-200, 25]) == pytest.approx([0, 1])  # the group's range
    mr = prostate_intensity(np.arange(101.0))
    assert (mr.low, mr.high) == (0, 99)
    assert apply(mr, [0, 49.5, 100]) == pytest.approx([0, 0.5, 1])
    stub = Stub()
    list(segment_slices(stub, np.full((1, 32, 32), np.nan)))
    assert torch.isfinite(stub.encoded[0]).all()


def test_slices_of_another_size_go_there_and_back():
    y = np.linspace(0, 1, 20)[None, :, None] * np.ones((5, 1, 50))  # a ramp down the rows
    stub = Stub()
    found = list(segment_slices(stub, y, intensity=AS_IT_IS))
    ramp = torch.linspace(0, 1, 32)[:, None].expand(32, 32)
    torch.testing.assert_close(stub.encoded[2][0, 0, 2], ramp, atol=0.01, rtol=0)
    assert found[2].probabilities.shape == (3, 20, 50)
    np.testing.assert_allclose(found[2].probabilities.sum(0), 1, atol=1e-5)


def test_boxes_only_where_they_are():
    volume = np.random.default_rng(1).random((20, 32, 32), dtype=np.float32)
    boxes = np.full((20, 4), np.nan)
    boxes[9:11] = [2, 3, 20, 30]
    stub, cache = Stub(), GroupCache()
    found = list(segment_slices(stub, volume, intensity=AS_IT_IS, boxes=boxes, cache=cache))
    assert len(stub.encoded) == 6  # groups around slices 7 to 12
    assert [one.groups for one in found] == [0] * 9 + [5, 5] + [0] * 9
    assert all((one.labels == 0).all() for one in found if one.groups == 0)
    assert (found[0].probabilities[0] == 1).all()
    assert stub.boxes[0].tolist() == [[[2, 3, 20, 30]]]  # the first group sees slice 9 alone
    assert stub.boxes[2].shape == (1, 2, 4)
    boxes[9:11] = [5, 5, 9, 9]
    list(segment_slices(stub, volume, intensity=AS_IT_IS, boxes=boxes, cache=cache))
    assert len(stub.encoded) == 6  # all from the cache


def test_boxes_follow_slices_of_another_size():
    boxes = np.array([[0.0, 0, 49, 19]])
    stub = Stub()
    list(segment_slices(stub, np.zeros((1, 20, 50)), intensity=AS_IT_IS, boxes=boxes))
    assert stub.boxes[0].tolist() == [[[0, 0, 31, 31]]]


def test_the_cache_forgets_what_was_used_longest_ago():
    cache, one = GroupCache(2), GroupEmbedding(torch.zeros(5, 1, 1, 1), 5)
    cache.put(0, one)
    cache.put(1, one)
    assert cache.get(0) is one
    cache.put(2, one)
    assert cache.get(1) is None and cache.get(0) is one and cache.get(2) is one


def test_wrong_arguments_are_named():
    volume = np.zeros((3, 8, 8))
    with pytest.raises(ValueError, match=r"slices \(n, H, W\)"):
        next(segment_slices(Stub(), volume[0]))
    with pytest.raises(ValueError, match="3 slices need 3 boxes"):
        next(segment_slices(Stub(), volume, boxes=np.zeros((2, 4))))
    with pytest.raises(ValueError, match="6 slices apart"):
        next(segment_slices(Stub(), volume, step=6))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_with_a_small_network(precision):
    torch.manual_seed(0)
    sizes = {"embed_dim": 48, "depth": 2, "heads": 4, "global_blocks": (1,), "image_size": 64}
    inner = {"window": 3, "channels": 32, "adapter_channels": 8, "rank": 4, "mlp_dim": 32}
    model = MaSam(classes=3, quality_dim=16, **sizes, **inner)
    volume = np.random.default_rng(2).normal(size=(6, 40, 48))
    labels, _ = run(segment_volume(model.eval(), volume, precision=precision))
    assert labels.shape == volume.shape and labels.max() <= 3
    boxes = np.tile([5.0, 5, 30, 30], (6, 1))
    (one, *_) = segment_slices(model, volume, boxes=boxes, precision=precision)
    np.testing.assert_allclose(one.probabilities.sum(0), 1, atol=1e-4)

"""Train the default model on the replay pool; resumes from its last checkpoint.

One process per core is faster than one process with many threads:
torchrun --nproc-per-node 2 recipes/compact/train.py --threads 1 ...
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
import tyro
from candidates import CANDIDATES
from pool import SHAPE, by_source, held_out, load_cases, make_sample, open_pool, usable_row
from torch import Tensor

from napari_sam3d.engine.clicks import largest_component, next_click
from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.training.muon import Muon

HELD_BACK = 64  # samples at the end of each pool that are not trained on


@dataclass(frozen=True)
class Run:
    """One training run of one network."""

    folder: Path
    """Where checkpoints and the log go; an interrupted run continues from there."""
    pool: tuple[Path, ...]
    """Folders of the replay pool."""
    data: Path
    """Folder of the labelled volumes, for the held-out patches."""
    network: str = "compact"
    minutes: float = 90.0
    batch: int = 4
    rate: float = 5e-3
    threads: int = 2
    init: Path | None = None
    """Weights to start from."""
    device: str = "cpu"
    muon: bool = True


def main(run: Run) -> None:
    torch.set_num_threads(run.threads)
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo")
    first = not dist.is_initialized() or dist.get_rank() == 0
    torch.manual_seed(0)
    rng = np.random.default_rng()
    device = torch.device(run.device)
    model: PromptableModel = CANDIDATES[run.network]().to(device)
    average: PromptableModel = CANDIDATES[run.network]().to(device).eval()
    if run.init:
        found = torch.load(run.init, weights_only=True)["average"]
        own = model.state_dict()
        for key in found.keys() & own.keys():
            if found[key].shape == own[key].shape:
                own[key] = found[key]
            elif found[key].ndim > 1:  # the new input channels start without a say
                own[key] = torch.zeros_like(own[key])
                own[key][:, : found[key].shape[1]] = found[key]
        model.load_state_dict(own)
    average.load_state_dict(model.state_dict())
    optimisers = make_optimisers(model, run.rate, run.muon)
    progress = {"samples": 0, "steps": 0, "seconds": 0.0}
    run.folder.mkdir(parents=True, exist_ok=True)
    last = run.folder / "last.pt"
    if last.exists():
        state = torch.load(last, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        progress = state["progress"]
    if first:
        (run.folder / "run.json").write_text(json.dumps(asdict(run), default=str, indent=1))

    pools = [open_pool(p, (p / "targets.u8").stat().st_size, "r") for p in run.pool]
    dev = dev_set(run.data, pools[0])
    total = run.minutes * 60
    mark, recent, reported = time.monotonic(), [], progress["seconds"]
    while progress["seconds"] < total:
        done = progress["seconds"] / total
        warm = min(1.0, (progress["steps"] + 1) / 50)
        rate = run.rate * warm * (0.5 * (1 + math.cos(math.pi * done)) * 0.99 + 0.01)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("scale", 1.0)
            optimiser.zero_grad()
        image, target = draw_batch(pools, run.batch, rng)
        image, target = image.to(device), target.to(device)
        loss, dice = step(model, image, target, rng)
        loss.backward()
        progress["seconds"] = share(model, progress["seconds"])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        progress["steps"] += 1
        progress["samples"] += run.batch * (dist.get_world_size() if dist.is_initialized() else 1)
        decay = min(0.998, progress["steps"] / (progress["steps"] + 20))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        recent.append((float(loss.detach()), float(dice)))
        now = time.monotonic()
        progress["seconds"] += now - mark
        mark = now
        if first and (progress["seconds"] - reported > 120 or progress["seconds"] >= total):
            reported = progress["seconds"]
            row = {**progress, "loss": np.mean(recent, 0)[0], "dice": np.mean(recent, 0)[1]}
            row |= dev_scores(average, dev, device)
            recent = []
            with open(run.folder / "log.jsonl", "a") as file:
                file.write(json.dumps({k: round(float(v), 4) for k, v in row.items()}) + "\n")
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimisers": [o.state_dict() for o in optimisers],
                "progress": progress,
            }
            torch.save(state, last.with_suffix(".tmp"))
            last.with_suffix(".tmp").replace(last)
            mark = time.monotonic()


def share(model: torch.nn.Module, seconds: float) -> float:
    """Average the gradients over all processes; returns the first one's clock."""
    if not dist.is_initialized():
        return seconds
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    clock = torch.tensor([seconds if dist.get_rank() == 0 else 0.0])
    flat = torch.cat([g.flatten() for g in gradients] + [clock])
    dist.all_reduce(flat)
    flat[:-1] /= dist.get_world_size()
    for gradient, mean in zip(
        gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))
    return float(flat[-1])


def make_optimisers(model: torch.nn.Module, rate: float, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon for the weights of convolutions and matrices, AdamW for the rest."""
    weights, rest = [], []
    judge = []  # small, and fed with features that move
    for name, parameter in model.named_parameters():
        if name.startswith("iou_head"):
            judge.append(parameter)
        else:
            (weights if muon and parameter.ndim >= 2 else rest).append(parameter)
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": rest}, {"params": judge, "scale": 0.2}], lr=rate, weight_decay=1e-2
        )
    ]
    return [Muon(weights, lr=rate, weight_decay=1e-2), *optimisers] if weights else optimisers


def draw_batch(
    pools: list[tuple[np.memmap, np.memmap, np.memmap]], batch: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Images (b, 1, d, h, w) and binary targets of the same shape, varied at random."""
    images, targets = [], []
    while len(images) < batch:
        sizes = np.array([len(p[2]) - HELD_BACK for p in pools])
        pool = pools[rng.choice(len(pools), p=sizes / sizes.sum())]
        index = int(rng.integers(len(pool[2]) - HELD_BACK))
        image = torch.from_numpy(pool[0][index].astype(np.float32))
        target = choose_target(pool[1][index], int(pool[2][index]), rng)
        if target is None:
            continue
        axes = tuple(int(a) for a in rng.permutation(3))
        flips = [a for a in range(3) if rng.random() < 0.5]
        images.append(vary(image.permute(axes).flip(flips), rng))
        targets.append(torch.from_numpy(target).permute(axes).flip(flips))
    return torch.stack(images)[:, None], torch.stack(targets)[:, None].float()


def choose_target(labels: np.ndarray, primary: int, rng: np.random.Generator) -> np.ndarray | None:
    """The mask of the patch's own object, or of another label in it; None when too small."""
    if primary and rng.random() < 0.65:
        target = labels == primary
    else:
        counts = np.bincount(labels.ravel())
        if primary:
            counts[0] = 0  # unlabelled, not a thing
        usable = np.flatnonzero((counts >= 80) & (counts < 0.6 * labels.size))
        if len(usable) == 0:
            return None
        target = labels == rng.choice(usable)
        if not primary:
            component, start = largest_component(target)
            target = np.zeros_like(target)
            stop = start + component.shape
            target[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = component
    return target if target.sum() >= 40 else None


def vary(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Another contrast for the same patch; mean 0 and deviation 1 again."""
    if rng.random() < 0.35:
        image = -image
    if rng.random() < 0.4:  # a monotone curve
        low, high = image.min(), image.max()
        unit = (image - low) / (high - low).clamp(min=1e-6)
        image = unit ** float(np.exp(rng.uniform(-0.7, 0.7)))
        image = image / image.std().clamp(min=1e-3)
    if rng.random() < 0.3:
        image = image + float(rng.uniform(0, 0.3)) * torch.randn_like(image)
    if rng.random() < 0.1:
        image = F.avg_pool3d(image[None], 3, 1, 1)[0]
    return (image - image.mean()) / image.std().clamp(min=1e-3)


def step(
    model: PromptableModel, image: Tensor, target: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Loss and mean Dice after a random number of clicks."""
    prompts = first_prompts(target, rng)
    with torch.autocast(image.device.type, torch.bfloat16):
        embedding = model.encode_image(image)
        if rng.random() < 0.55:  # a correcting click on the model's own answer
            with torch.no_grad():
                masks = model.decode_masks(embedding, prompts)
            prompts = corrected(prompts, masks, target, rng)
        masks = model.decode_masks(embedding, prompts)
    dice = soft_dice(masks.logits, target)
    truth = iou(masks.logits, target)
    loss = 1 - dice.mean() + F.binary_cross_entropy_with_logits(masks.logits, target)
    judged = F.binary_cross_entropy(masks.iou.float().clamp(1e-4, 1 - 1e-4), truth)
    return loss + 0.2 * judged, dice.mean().detach()


def first_prompts(target: Tensor, rng: np.random.Generator) -> PatchPrompts:
    """One positive click, sometimes further ones drawn without looking at an answer."""
    points, labels = [], []
    for mask in target[:, 0].bool().cpu().numpy():
        inside = _half(mask)
        exact = None if rng.random() < 0.5 else rng
        clicks = [next_click(np.zeros_like(inside), inside, exact)]
        if rng.random() < 0.35:
            for _ in range(int(rng.integers(1, 4))):
                part = inside if rng.random() < 0.5 else ~inside
                near = rng.random(part.shape) < 0.2
                clicks.append(next_click(np.zeros_like(part), part & near, rng))
                if clicks[-1] is not None and part is not inside:
                    clicks[-1] = type(clicks[-1])(clicks[-1].position_voxel, False)
        kept = [c for c in clicks if c is not None][:4]
        points.append([_full(c.position_voxel, rng) for c in kept] + [[0.0] * 3] * (4 - len(kept)))
        labels.append([int(c.positive) for c in kept] + [-1] * (4 - len(kept)))
    device = target.device
    return PatchPrompts(
        torch.tensor(np.array(points), dtype=torch.float32, device=device),
        torch.tensor(labels, device=device),
        torch.zeros_like(target),
    )


def corrected(
    prompts: PatchPrompts, masks: Masks, target: Tensor, rng: np.random.Generator
) -> PatchPrompts:
    """The prompts with a click on the largest error, and most of the time the earlier mask."""
    found = (masks.logits[:, 0] > 0).cpu().numpy()
    truth = target[:, 0].bool().cpu().numpy()
    points, labels = [], []
    for mask, reference in zip(found, truth, strict=True):
        click = next_click(_half(mask), _half(reference), None if rng.random() < 0.6 else rng)
        points.append([0.0] * 3 if click is None else _full(click.position_voxel, rng))
        labels.append(-1 if click is None else int(click.positive))
        if rng.random() < 0.2:  # the same clicks on another patch, when the patch is refitted
            labels[-1] = -1
    mask = masks.logits.detach().clone()
    for index, chance in enumerate(rng.random(len(mask))):
        if chance < 0.2:
            mask[index] = 0
        elif chance < 0.5:  # as if it came from a coarser patch
            coarse = F.avg_pool3d(mask[index], int(rng.integers(2, 5)), ceil_mode=True)
            mask[index] = F.interpolate(coarse[None], size=SHAPE, mode="trilinear")[0]
    return PatchPrompts(
        torch.cat([prompts.points, torch.tensor(np.array(points)).to(prompts.points)[:, None]], 1),
        torch.cat([prompts.labels, torch.tensor(labels).to(prompts.labels)[:, None]], 1),
        mask,
    )


def _half(mask: np.ndarray) -> np.ndarray:
    """Every second voxel, each standing for its block of eight (half of them rounds up)."""
    d, h, w = (n // 2 for n in mask.shape)
    half = mask.reshape(d, 2, h, 2, w, 2).sum((1, 3, 5)) >= 4
    return half if half.any() else mask.reshape(d, 2, h, 2, w, 2).any((1, 3, 5))


def _full(position: tuple[float, ...], rng: np.random.Generator) -> list[float]:
    return [2 * p + float(rng.integers(2)) for p in position]


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    chance = torch.sigmoid(logits)
    overlap = (chance * target).sum((1, 2, 3, 4))
    return (2 * overlap + 1) / (chance.sum((1, 2, 3, 4)) + target.sum((1, 2, 3, 4)) + 1)


def iou(logits: Tensor, target: Tensor) -> Tensor:
    mask = (logits.detach() > 0).float()
    both = (mask * target).sum((1, 2, 3, 4))
    return both / (mask + target).clamp(max=1).sum((1, 2, 3, 4)).clamp(min=1)


def dev_set(data: Path, pool: tuple[np.memmap, ...]) -> dict[str, list]:
    """Patches never trained on: of held-out patients, and the last of the pool."""
    groups: dict[str, list] = {"real": [], "pool": []}
    sources = by_source(load_cases(data, lambda row: usable_row(row) and held_out(row["patient"])))
    generator = torch.Generator().manual_seed(1)
    rng = np.random.default_rng(1)
    while len(groups["real"]) < 32:
        image, labels, target = make_sample("real", {"real": sources}, generator)
        if (labels == target).sum() >= 200:
            groups["real"].append((image, labels == target))
    for index in range(len(pool[2]) - HELD_BACK, len(pool[2])):
        target = choose_target(pool[1][index], int(pool[2][index]), rng)
        if target is not None and len(groups["pool"]) < 32:
            groups["pool"].append((np.array(pool[0][index]), target))
    return groups


@torch.no_grad()
def dev_scores(
    model: PromptableModel, dev: dict[str, list], device: torch.device
) -> dict[str, float]:
    """Mean Dice after 1 and 3 clicks by the evaluation's rule, per group."""
    scores: dict[str, list[float]] = {}
    for group, samples in dev.items():
        for image, reference in samples:
            patch = torch.from_numpy(image.astype(np.float32))[None, None].to(device)
            mask, logits = np.zeros(SHAPE, bool), torch.zeros_like(patch)
            points, labels = [], []
            with torch.autocast(device.type, torch.bfloat16):
                embedding = model.encode_image(patch)
                for clicks in (1, 2, 3):
                    click = next_click(mask, reference)
                    if click is not None:
                        points.append(click.position_voxel)
                        labels.append(int(click.positive))
                    prompts = PatchPrompts(
                        torch.tensor([points], device=device),
                        torch.tensor([labels], device=device),
                        logits,
                    )
                    logits = model.decode_masks(embedding, prompts).logits
                    mask = (logits[0, 0] > 0).cpu().numpy()
                    if clicks != 2:
                        total = mask.sum() + reference.sum()
                        value = 2 * (mask & reference).sum() / total
                        scores.setdefault(f"{group}_{clicks}", []).append(value)
    return {name: float(np.mean(values)) for name, values in scores.items()}


if __name__ == "__main__":
    main(tyro.cli(Run))

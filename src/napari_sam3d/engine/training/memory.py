"""What is said when memory does not hold a training."""

from __future__ import annotations

from napari_sam3d.settings import TrainSettings


def too_large(settings: TrainSettings, device: str = "") -> str:
    """What is said when memory was full, and what to try.

    Parameters
    ----------
    settings
        Of the training.
    device
        Where the network ran, where that is known.
    """
    where = f" on {device}" if device else ""
    tries = ["close other programs"]
    if settings.model != "compact":
        tries += ["turn checkpointing on"] * (settings.checkpointing != "on")
        tries.append("choose compact")
    if device != "cpu":
        tries.append("choose cpu as device")
    ways = f"{', '.join(tries[:-1])} or {tries[-1]}" if len(tries) > 1 else tries[0]
    return f"There is not enough memory to tune {settings.model}{where}; {ways}."

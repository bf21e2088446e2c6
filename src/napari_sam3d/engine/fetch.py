"""Weights from the network: resumed where a connection broke, checked before they count."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch
import requests

from napari_sam3d.catalog import Weights
from napari_sam3d.engine.places import models_folder

Progress = Callable[[int, int], None]
"""Told the bytes done and the bytes in all, 0 when unknown; what it raises ends the download."""

_ATTEMPTS = 4
_PIECE = 1 << 16  # bytes; at most so many are lost when a connection breaks
_TIMEOUT_S = 30
_UNDER_WAY: dict[Path, threading.Lock] = {}
"""Two threads never write the same part; the second finds the file when its turn comes."""


def fetch(weights: Weights, progress: Progress = lambda done, total: None) -> Path:
    """The file of a model, from the user's folder or else from the network.

    What was downloaded before a connection broke, or a program ended, is not downloaded again.

    Parameters
    ----------
    weights
        With an address and a checksum.
    progress
        Told how far the download is.

    Raises
    ------
    OSError
        With one sentence, when the file cannot be had or its checksum stays wrong.
    """
    assert weights.url is not None
    folder = models_folder()
    try:
        keeper = pooch.create(
            folder,
            base_url="",
            registry={weights.file: f"sha256:{weights.sha256}" if weights.sha256 else None},
            urls={weights.file: weights.url},
            retry_if_failed=_ATTEMPTS - 1,
        )
        part = folder / f"{weights.file}.part"
        with _UNDER_WAY.setdefault(part, threading.Lock()):
            return Path(keeper.fetch(weights.file, downloader=_Resuming(part, progress)))
    # pooch raises ValueError for a wrong checksum
    except (OSError, ValueError) as error:
        raise OSError(
            f"{weights.file} could not be fetched from {weights.url}: {error}. Check the "
            f"connection and try again, or put the file into {folder}."
        ) from error


class _Resuming:
    """A downloader for pooch that goes on with what is in `part`."""

    def __init__(self, part: Path, progress: Progress) -> None:
        self._part = part
        self._progress = progress

    def __call__(self, url: str, output_file: str, keeper: Any, check_only: bool = False) -> None:
        done = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self._part.unlink()  # longer than the file: of another version
                raise requests.ConnectionError("the download begins anew")
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                done = 0
            length = int(answer.headers.get("Content-Length", 0))
            total = done + length if length else 0
            self._progress(done, total)
            with self._part.open("ab" if done else "wb") as file:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    done += len(piece)
                    self._progress(done, total)
        if done < total:
            raise requests.ConnectionError("the connection was lost")
        os.replace(self._part, output_file)

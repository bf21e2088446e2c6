"""How far a download is, for somebody at a terminal or in its log."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

MEGABYTE = 1_000_000


class DownloadBar:
    """A bar on stderr that begins with the first byte; one line where no terminal is.

    Parameters
    ----------
    what
        The model that is fetched.
    quiet
        Say nothing.
    """

    def __init__(self, what: str, quiet: bool) -> None:
        self._what = what
        self._quiet = quiet
        self._bar: Any = None
        self._share = (0, 0)

    def __enter__(self) -> DownloadBar:
        import pooch

        pooch.get_logger().setLevel("ERROR")  # it would write into the bar
        return self

    def __call__(self, done: int, total: int) -> None:
        from tqdm import tqdm

        self._share = done, total
        if self._quiet:
            return
        if self._bar is None:
            hidden = not sys.stderr.isatty()
            if hidden:
                size = f", {total / MEGABYTE:.0f} MB" if total else ""
                print(f"Downloading weights for {self._what}{size}", file=sys.stderr)
            self._bar = tqdm(
                desc=f"Downloading weights for {self._what}",
                total=total or None,
                initial=done,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=hidden,
                file=sys.stderr,
            )
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        done, total = self._share
        if kind is KeyboardInterrupt and 0 < done < total and not self._quiet:
            print(
                f"{done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB are kept; the next download "
                "goes on from there.",
                file=sys.stderr,
            )

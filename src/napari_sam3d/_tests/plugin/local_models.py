"""Small weights for the catalog's models, and a server that stops in the middle of a download."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from napari_sam3d._tests import tiny_checkpoints as tiny
from napari_sam3d.catalog import MODELS
from napari_sam3d.engine import store
from napari_sam3d.engine.places import models_folder

FIRST = 1 << 18
"""Bytes that the server sends before it waits."""


def put(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, **elsewhere: Any) -> None:
    """Weights of a model where it looks for them; with `url`, where they are downloaded from."""
    spec = MODELS[name]
    if spec.weights.url is not None:
        make = tiny.tiny_sam if spec.family == "sam" else tiny.tiny_sam_med3d
        target = folder if elsewhere else models_folder()
        path = tiny.save_tiny(make(), target / spec.weights.file)
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        weights = replace(spec.weights, sha256=sha256, size=len(content), **elsewhere)
        monkeypatch.setitem(MODELS, name, replace(spec, weights=weights))
    elif spec.family == "ma_sam":
        adapters, sam = tiny.tiny_ma_sam()
        base = tiny.save_tiny(sam, folder / "sam.pth")
        store.add(tiny.save_tiny(adapters, folder / "epoch_1.pth"), name, base)
    else:
        store.add(released_adapter(folder, spec.family), name)


def released_adapter(folder: Path, family: str = "sam3d_adapter") -> Path:
    """A file as the authors of 3DSAM-adapter released it; its name says nothing."""
    automatic = family.endswith("auto")
    made = tiny.tiny_automatic_adapter() if automatic else tiny.tiny_adapter()
    return tiny.save_tiny(made, folder / "last.pth.tar")


class SlowServer(ThreadingHTTPServer):
    """Serves the files of a folder; after `FIRST` bytes it waits for `go`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.go = threading.Event()
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: SlowServer

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        path = self.server.folder / Path(self.path).name
        if not path.exists():
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted else 0
        body = path.read_bytes()[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[:FIRST])
            self.wfile.flush()
            self.server.go.wait(60)
            self.wfile.write(body[FIRST:])
        except OSError:
            pass  # whoever asked has gone

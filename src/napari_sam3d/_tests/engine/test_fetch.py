"""Downloads from a server on this computer that is not to be relied on."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from napari_sam3d.catalog import Weights
from napari_sam3d.engine.fetch import fetch
from napari_sam3d.engine.places import models_folder

CONTENT = bytes(range(256)) * 8192  # 2 MiB


class Server(ThreadingHTTPServer):
    """Serves CONTENT, `mishaps` first: "drop" half-way, a "wrong" byte, "ignore" ranges."""

    def __init__(self):
        self.mishaps = []
        self.asked = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/some/model.pth"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        mishap = server.mishaps.pop(0) if server.mishaps else ""
        wanted = self.headers.get("Range", "")
        server.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and mishap != "ignore" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        if mishap == "missing":
            self.send_error(404)
            return
        body = bytearray(CONTENT[start:])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mishap == "wrong":
            body[-1] ^= 255
        self.wfile.write(body[: len(body) // 2] if mishap == "drop" else body)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    http = Server()
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http
    http.shutdown()
    thread.join()
    http.server_close()


def weights(server):
    return Weights(
        file="model.pth", url=server.url, sha256=hashlib.sha256(CONTENT).hexdigest(), licence="MIT"
    )


def test_a_file_is_fetched_once(server):
    told = []
    path = fetch(weights(server), lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(weights(server)) == path
    assert server.asked == [""]


def test_a_broken_connection_is_taken_up_where_it_broke(server):
    server.mishaps = ["drop", "drop"]
    assert fetch(weights(server)).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.asked == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_wrong_byte_is_found_and_fetched_again(server):
    server.mishaps = ["wrong"]
    assert fetch(weights(server)).read_bytes() == CONTENT
    assert server.asked == ["", ""]


def test_a_server_without_ranges_begins_anew(server):
    server.mishaps = ["drop", "ignore"]
    assert fetch(weights(server)).read_bytes() == CONTENT


def test_a_rest_that_is_too_long_is_thrown_away(server):
    models_folder().mkdir()
    (models_folder() / "model.pth.part").write_bytes(bytes(len(CONTENT) + 1))
    assert fetch(weights(server)).read_bytes() == CONTENT


def test_a_cancelled_download_goes_on_later(server):
    class Cancelled(Exception):
        pass

    def cancel(done, total):
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(weights(server), cancel)
    assert fetch(weights(server)).read_bytes() == CONTENT
    assert server.asked == ["", f"bytes={1 << 16}-"]


@pytest.mark.parametrize(("mishaps", "words"), [(["wrong"] * 4, "hash"), (["missing"] * 4, "404")])
def test_what_cannot_be_had_is_said_in_one_sentence(server, mishaps, words):
    server.mishaps = mishaps
    with pytest.raises(OSError, match=rf"model\.pth could not be fetched.*{words}"):
        fetch(weights(server))
    assert not (models_folder() / "model.pth").exists()

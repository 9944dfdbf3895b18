"""Bytes too large for gRPC, by HTTP on a loopback port: blobs, blocks of volumes' files."""

import asyncio
import base64
import hashlib
import urllib.parse
from pathlib import Path

BLOCK_BYTES = 8 * 1024 * 1024
_MOST_BODY_BYTES = 1 << 30


class Transfer:
    """`PUT /blob/ID`, `GET /blob/ID`, `PUT /block/SHA256`, `GET /file?path=…&start=…&length=…`."""

    def __init__(self, root: Path):
        self._root = root
        self._blobs = root / "blobs"
        self._server: asyncio.Server | None = None
        self._port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    def url(self, kind: str, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{kind}/{name}"

    def file_urls(self, path: Path, start: int, length: int) -> list[str]:
        """One URL for each block that the range touches, as the client expects them."""
        urls, at, end = [], start, start + length
        while at < end:
            until = min(end, (at // BLOCK_BYTES + 1) * BLOCK_BYTES)
            query = urllib.parse.urlencode({"path": path, "start": at, "length": until - at})
            urls.append(f"http://127.0.0.1:{self._port}/file?{query}")
            at = until
        return urls

    def blob(self, blob_id: str) -> bytes:
        return self.blob_path(blob_id).read_bytes()

    def blob_path(self, name: str) -> Path:
        assert name.replace("-", "").isalnum(), name
        return self._blobs / name

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status, headers, body = await self._answer(reader, writer)
            lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader, writer) -> tuple[str, list[str], bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)
        }
        if headers.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parsed = urllib.parse.urlsplit(target)
        if method == "GET" and parsed.path == "/file":
            return self._range(dict(urllib.parse.parse_qsl(parsed.query)))
        _, kind, name = parsed.path.split("/")
        path = self.blob_path(name)
        if method == "GET":
            return ("200 OK", [], path.read_bytes()) if path.exists() else ("404 Not Found", [], b"no such blob")
        body = await self._body(reader, headers)
        if kind == "block" and hashlib.sha256(body).hexdigest() != name:
            return "400 Bad Request", [], b"the block has another SHA-256"
        path.write_bytes(body)
        return "200 OK", [f'ETag: "{hashlib.md5(body).hexdigest()}"'], b"ok"

    async def _body(self, reader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await reader.readexactly(min(int(headers.get("content-length", 0)), _MOST_BODY_BYTES))
        body = bytearray()
        while len(body) < _MOST_BODY_BYTES:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
            if size == 0:
                break
        return bytes(body)

    def _range(self, query: dict[str, str]) -> tuple[str, list[str], bytes]:
        path = Path(query["path"]).resolve()
        if not path.is_relative_to(self._root / "volumes") or not path.is_file():
            return "404 Not Found", [], b"no such file"
        with path.open("rb") as file:
            file.seek(int(query["start"]))
            body = file.read(int(query["length"]))
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return "200 OK", [f"Repr-Digest: sha-256=:{digest}:"], body

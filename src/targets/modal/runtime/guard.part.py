# --- the guard: asks for the key, in front of the engine ---
# An engine that can sleep also lets whoever reaches it put it to sleep, and more: of that one, only what
# clients ask for is handed on.

CHUNK_BYTES = 1 << 16
HEAD_BYTES = 1 << 16
HEAD_SECONDS = 60
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
CLIENTS = re.compile(
    rb"/(v1(/[A-Za-z0-9._:@-]+)+|health|ping|version|metrics|tokenize|detokenize)(\?.*)?"
)
# The key, which the engine never has, and what is between two programs alone.
DROPPED = {b"authorization", b"connection", b"keep-alive", b"proxy-connection", b"upgrade"}


class Refused(Exception):
    """A request that the engine never sees; its arguments are the status and the reason."""


def guard() -> None:
    """Starts the guard in a process of its own; from here on, nothing else has the key."""
    keys, named = "", MODEL["api_key"]
    if named is not None:
        keys = taken(named["variable"])
        if not keys.split():
            raise RuntimeError(f"{named['variable']} is empty in the secret {named['name']}")
    started = subprocess.Popen([sys.executable, __file__, "guard"], stdin=subprocess.PIPE)
    assert started.stdin is not None
    started.stdin.write(keys.encode())
    started.stdin.close()


def taken(variable: str) -> str:
    """The variable's value, which nobody finds here any more: /proc/PID/environ shows, to an engine
    that runs as the same user too, the memory that variables had at the start, whatever was unset."""
    value = os.environ.get(variable, "")
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    if at := libc.getenv(os.fsencode(variable)):
        ctypes.memset(at, 0, len(os.fsencode(value)))
    os.environ.pop(variable, None)
    if value and os.fsencode(value) in Path("/proc/self/environ").read_bytes():
        print(f"{variable} is still in /proc/{os.getpid()}/environ", file=sys.stderr, flush=True)
    return value


async def stand_guard(keys: list[str]) -> None:
    """Listens as soon as the engine does: that is what Modal waits for."""
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    while True:
        try:
            _, probe = await asyncio.open_connection("127.0.0.1", MODEL["engine_port"])
        except OSError:
            await asyncio.sleep(0.1)
        else:
            probe.close()
            break

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer, digests)
        finally:
            writer.close()

    server = await asyncio.start_server(
        serve_one, "0.0.0.0", MODEL["port"], limit=HEAD_BYTES, backlog=1024
    )
    await server.serve_forever()


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, digests: list[bytes]
) -> None:
    """One request: handed on or refused. Another one has to come in a connection of its own."""
    with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError):
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
            head, length = examined(head, digests)
            await relay(head, length, reader, writer)
        except asyncio.LimitOverrunError:
            await refuse(reader, writer, "431 Request Header Fields Too Large", "it is too long")
        except Refused as refused:
            await refuse(reader, writer, *refused.args)


def examined(head: bytes, digests: list[bytes]) -> tuple[bytes, int | None]:
    """The head as the engine gets it, and the body's length; none for one in chunks."""
    first, *lines = head[:-4].split(b"\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        # What two programs could read in two ways could hide a second request.
        if not colon or not FIELD.fullmatch(name) or any(it in value for it in (b"\n", b"\r")):
            raise Refused("400 Bad Request", "a header is malformed")
        fields.append((name.lower(), value.strip(b" \t"), line))
    words = first.split(b" ")
    if len(words) != 3 or any(it < 0x21 or it > 0x7E for word in words for it in word):
        raise Refused("400 Bad Request", "the request line is malformed")
    # Says that the model is up, and nothing else.
    is_health = words[:2] in ([b"GET", b"/health"], [b"HEAD", b"/health"])
    given = [value for name, value, _ in fields if name == b"authorization"]
    is_allowed = MODEL["api_key"] is None or is_health
    if not is_allowed and not (len(given) == 1 and is_known(given[0], digests)):
        raise Refused("401 Unauthorized", "a valid API key is needed, as a bearer token")
    is_plain = CLIENTS.fullmatch(words[1]) and b"/.." not in words[1]
    if MODEL.get("snapshot", False) and not is_plain:
        raise Refused("404 Not Found", "there is no such path")
    lengths = [value for name, value, _ in fields if name == b"content-length"]
    encodings = [value.lower() for name, value, _ in fields if name == b"transfer-encoding"]
    length: int | None = 0
    if encodings:
        if lengths or encodings != [b"chunked"]:
            raise Refused("400 Bad Request", "the body's length is not clear")
        length = None
    elif lengths:
        if len(lengths) != 1 or not lengths[0].isdigit():
            raise Refused("400 Bad Request", "the body's length is not clear")
        length = int(lengths[0])
    kept = [line for name, _, line in fields if name not in DROPPED]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""]), length


def is_known(given: bytes, digests: list[bytes]) -> bool:
    """Whether it is one of the keys, in a time that tells nothing of them."""
    scheme, _, key = given.partition(b" ")
    digest = hashlib.sha256(key.strip()).digest()
    known = [hmac.compare_digest(digest, other) for other in digests]
    return scheme.lower() == b"bearer" and any(known)


async def relay(
    head: bytes,
    length: int | None,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Both ways at once and piece by piece, until the engine has answered or the client is gone."""
    try:
        engine_reader, engine_writer = await asyncio.open_connection(
            "127.0.0.1", MODEL["engine_port"]
        )
    except OSError:
        raise Refused("502 Bad Gateway", "the engine does not answer") from None

    async def up() -> None:
        engine_writer.write(head)
        await hand_on(reader, engine_writer, length)
        # Whatever follows the request is not read as another one.
        while await reader.read(CHUNK_BYTES):
            pass

    async def down() -> None:
        while piece := await engine_reader.read(CHUNK_BYTES):
            writer.write(piece)
            await writer.drain()

    ways = [asyncio.create_task(up()), asyncio.create_task(down())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        # An engine that has read enough may still have something to say.
        stopped = ways[0].done() and isinstance(ways[0].exception(), OSError)
        if stopped and reader.exception() is None and not reader.at_eof():
            await asyncio.wait(ways[1:])
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        engine_writer.close()


async def hand_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None
) -> None:
    """The body of one request, exactly."""
    if length is not None:
        await copy(reader, writer, length)
        return
    while True:
        line = (await reader.readuntil(b"\r\n"))[:-2]
        size = line.partition(b";")[0].strip(b" \t")
        if not SIZE.fullmatch(size):
            raise EOFError
        chunk = int(size, 16)
        if chunk == 0:
            break
        writer.write(b"%x\r\n" % chunk)
        await copy(reader, writer, chunk)
        if await reader.readexactly(2) != b"\r\n":
            raise EOFError
        writer.write(b"\r\n")
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    writer.write(b"0\r\n\r\n")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length:
        piece = await reader.read(min(length, CHUNK_BYTES))
        if not piece:
            raise EOFError
        writer.write(piece)
        await writer.drain()
        length -= len(piece)


async def refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: str, message: str
) -> None:
    """Answers as the OpenAI API does."""
    code = "invalid_api_key" if status.startswith("401") else None
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    fields = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "WWW-Authenticate: Bearer",
        "Connection: close",
    ]
    writer.write("\r\n".join([*fields, "", ""]).encode() + body)
    await writer.drain()
    writer.write_eof()

    async def rest() -> None:
        while await reader.read(CHUNK_BYTES):
            pass

    # A connection that is closed with a body unread may take the answer with it.
    await asyncio.wait_for(rest(), 2)


if __name__ == "__main__" and sys.argv[1:] == ["guard"]:
    asyncio.run(stand_guard(sys.stdin.read().split()))

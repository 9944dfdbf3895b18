# --- the guard: asks for the key, in front of the engine ---
# An engine that can sleep also lets whoever reaches it put it to sleep, and more: of that one, only what
# clients ask for is handed on.

CHUNK_BYTES = 1 << 16
HEAD_BYTES = 1 << 16
HEAD_SECONDS = 60
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
TARGET = re.compile(rb"(/|(?i:https?)://[^/?#])[\x21-\x7e]*")
VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(;[\t\x20-\x7e\x80-\xff]*)?\r\n")
PREFLIGHT = b"access-control-request-method"
CLIENTS = re.compile(
    rb"/(v1(/[A-Za-z0-9._:@-]+)+|health|ping|version|metrics|tokenize|detokenize)(\?.*)?"
)
# What says who asks, which the engine never has, and what is between two programs alone.
DROPPED = {b"authorization", b"proxy-authorization", b"modal-key", b"modal-secret"}
DROPPED |= {b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"te", b"trailer"}


class Refused(Exception):
    """A request that the engine never sees as a whole; its arguments are the status and the reason."""


def guard() -> subprocess.Popen[bytes]:
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
    return started


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
    lines: list[bytes] = []
    with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError):
        try:
            await asyncio.wait_for(read_head(reader, lines), HEAD_SECONDS)
            head, length = examined(lines, digests)
            await relay(head, length, reader, writer)
        except Refused as refused:
            is_head = bool(lines) and lines[0].startswith(b"HEAD ")
            await refuse(reader, writer, is_head, *refused.args)
        except asyncio.TimeoutError:
            if lines:
                await refuse(reader, writer, False, "408 Request Timeout", "it did not come to an end")


async def read_head(reader: asyncio.StreamReader, lines: list[bytes]) -> None:
    """Appends the request line and the headers, each without its end, as they come."""
    left = HEAD_BYTES
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            left = 0
        except asyncio.IncompleteReadError as cut:
            if lines or cut.partial:
                raise Refused("400 Bad Request", "the request ends within its headers") from None
            raise
        else:
            left -= len(line)
        if left <= 0 and lines:
            raise Refused("431 Request Header Fields Too Large", "the headers are too long")
        if left <= 0:
            raise Refused("414 URI Too Long", "the request line is too long")
        # Where one program sees an end of a line and another one none, a header could hide.
        if line[-2:] != b"\r\n":
            raise Refused("400 Bad Request", "a line does not end as it has to")
        if line != b"\r\n":
            lines.append(line[:-2])
        elif lines:
            return


def examined(lines: list[bytes], digests: list[bytes]) -> tuple[bytes, int | None]:
    """The head as the engine gets it, and the body's length; none for one in chunks."""
    words = lines[0].split(b" ")
    if len(words) != 3 or not TOKEN.fullmatch(words[0]) or not VERSION.fullmatch(words[2]):
        raise Refused("400 Bad Request", "the request line is malformed")
    method, target, version = words
    if not version.startswith(b"HTTP/1."):
        raise Refused("505 HTTP Version Not Supported", "it has to be HTTP/1.1")
    if method == b"CONNECT":
        raise Refused("501 Not Implemented", "this is no tunnel")
    if not TARGET.fullmatch(target) and words[:2] != [b"OPTIONS", b"*"]:
        raise Refused("400 Bad Request", "the request line is malformed")
    kept = [lines[0]]
    named: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        # What two programs could read in two ways could hide a second request.
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise Refused("400 Bad Request", "a header is malformed")
        name = name.lower()
        named.setdefault(name, []).append(value.strip(b" \t"))
        if name not in DROPPED:
            kept.append(line)
    hosts = len(named.get(b"host", []))
    if hosts > 1 or (hosts == 0 and version != b"HTTP/1.0"):
        raise Refused("400 Bad Request", "it has to name one host")
    length = length_of(named, version)
    # What needs no key: the word that the model is up, and a browser's question whether it may ask.
    is_open = length == 0 and (
        words[:2] in ([b"GET", b"/health"], [b"HEAD", b"/health"])
        or (method == b"OPTIONS" and b"origin" in named and PREFLIGHT in named)
    )
    given = named.get(b"authorization", [])
    is_allowed = MODEL["api_key"] is None or is_open
    if not is_allowed and not (len(given) == 1 and is_known(given[0], digests)):
        raise Refused("401 Unauthorized", "a valid API key is needed, as a bearer token")
    is_plain = CLIENTS.fullmatch(target) and b"/.." not in target
    if MODEL.get("snapshot", False) and not is_plain:
        raise Refused("404 Not Found", "there is no such path")
    return b"\r\n".join([*kept, b"Connection: close", b"", b""]), length


def length_of(named: dict[bytes, list[bytes]], version: bytes) -> int | None:
    """How long the body is that follows these headers; none for one in chunks."""
    lengths, encodings = named.get(b"content-length", []), named.get(b"transfer-encoding", [])
    if encodings:
        if lengths or version == b"HTTP/1.0":
            raise Refused("400 Bad Request", "the body's length is not clear")
        if [encoding.lower() for encoding in encodings] != [b"chunked"]:
            raise Refused("501 Not Implemented", "the transfer encoding has to be `chunked`")
        return None
    if not lengths:
        return 0
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise Refused("400 Bad Request", "the body's length is not clear")
    if len(lengths[0]) > 15:
        raise Refused("413 Content Too Large", "the body is too long")
    return int(lengths[0])


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

    is_answered = False

    async def up() -> None:
        engine_writer.write(head)
        await hand_on(reader, engine_writer, length)
        # Whatever follows the request is not read as another one.
        while await reader.read(CHUNK_BYTES):
            pass

    async def down() -> None:
        nonlocal is_answered
        while piece := await engine_reader.read(CHUNK_BYTES):
            is_answered = True
            writer.write(piece)
            await writer.drain()

    asked, answered = ways = [asyncio.create_task(up()), asyncio.create_task(down())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if asked.done() and not answered.done():
            failed = asked.exception()
            if isinstance(failed, Refused) and not is_answered:
                raise failed
            # An engine that has read enough may still have something to say.
            stopped = isinstance(failed, OSError) and reader.exception() is None
            if (stopped and not reader.at_eof()) or (
                failed is None and (is_answered or await is_there(writer, head, answered))
            ):
                await asyncio.wait([answered])
        if answered.done() and not is_answered and reader.exception() is None:
            raise Refused("502 Bad Gateway", "the engine did not answer")
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        engine_writer.close()


async def is_there(writer: asyncio.StreamWriter, head: bytes, answered: asyncio.Task[None]) -> bool:
    """Whether a client that says no more still listens: the engine works for nobody else. It shows
    when something is sent; what clients pass over, those of HTTP/1.0 would take for the answer."""
    if head.partition(b"\r\n")[0].endswith(b"HTTP/1.0"):
        return True
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    for _ in range(10):
        await asyncio.wait([answered], timeout=0.05)
        if writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        if answered.done():
            break
    return not writer.transport.is_closing()


async def hand_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None
) -> None:
    """The body of one request, exactly."""
    try:
        if length is not None:
            await copy(reader, writer, length)
            return
        while size := await size_of_chunk(reader):
            writer.write(b"%x\r\n" % size)
            await copy(reader, writer, size)
            if await reader.readexactly(2) != b"\r\n":
                raise Refused("400 Bad Request", "a chunk is longer than it says")
            writer.write(b"\r\n")
        # Trailers, which nobody here asked for.
        await read_trailers(reader)
    except EOFError:
        raise Refused("400 Bad Request", "the body is shorter than it says") from None
    except asyncio.LimitOverrunError:
        raise Refused("400 Bad Request", "a chunk is malformed") from None
    writer.write(b"0\r\n\r\n")


async def size_of_chunk(reader: asyncio.StreamReader) -> int:
    size = SIZE.fullmatch(await reader.readuntil(b"\n"))
    if size is None:
        raise Refused("400 Bad Request", "a chunk is malformed")
    return int(size[1], 16)


async def read_trailers(reader: asyncio.StreamReader) -> None:
    left = HEAD_BYTES
    while (line := await reader.readuntil(b"\n")) != b"\r\n":
        name, colon, value = line[:-2].partition(b":")
        left -= len(line)
        is_well = colon and TOKEN.fullmatch(name) and VALUE.fullmatch(value)
        if line[-2:] != b"\r\n" or not is_well or left <= 0:
            raise Refused("400 Bad Request", "a trailer is malformed")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length:
        piece = await reader.read(min(length, CHUNK_BYTES))
        if not piece:
            raise EOFError
        writer.write(piece)
        await writer.drain()
        length -= len(piece)


async def refuse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    is_head: bool,
    status: str,
    message: str,
) -> None:
    """Answers as the OpenAI API does."""
    is_strange = status.startswith("401")
    code = "invalid_api_key" if is_strange else None
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    fields = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(["WWW-Authenticate: Bearer"] if is_strange else []),
        "Connection: close",
    ]
    head = "\r\n".join([*fields, "", ""]).encode()
    writer.write(head if is_head else head + body)
    await writer.drain()
    writer.write_eof()

    async def rest() -> None:
        while await reader.read(CHUNK_BYTES):
            pass

    # A connection that is closed with a body unread may take the answer with it.
    await asyncio.wait_for(rest(), 2)


if __name__ == "__main__" and sys.argv[1:] == ["guard"]:
    asyncio.run(stand_guard(sys.stdin.read().split()))

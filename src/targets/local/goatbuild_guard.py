"""Asks for the key, in front of the engine: an ASGI middleware that the engine loads itself.

The engine finds no key in a variable that it knows: what it knows, it may write down or hash.
"""

import hashlib
import hmac
import os

KEY = hashlib.sha256(os.environ["GOATBUILD_API_KEY"].strip().encode()).digest()
# What tells that the engine is up, and nothing else.
OPEN = ("/health", "/ping")
REFUSAL = b'{"error":{"message":"this model wants a key: Authorization: Bearer KEY","code":401}}'


class Guard:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan" or is_open(scope) or has_key(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            headers.append((b"content-length", str(len(REFUSAL)).encode()))
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})


def is_open(scope):
    """Whether nobody has to say who they are: for a word whether the engine is up, and in a browser, which
    asks first whether it may send a key."""
    if scope["type"] != "http":
        return False
    names = [name.lower() for name, _ in scope["headers"]]
    if scope["method"] == "OPTIONS" and b"access-control-request-method" in names:
        return True
    return scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN


def has_key(scope):
    values = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    if len(values) != 1:
        return False
    scheme, _, key = values[0].partition(b" ")
    digest = hashlib.sha256(key.strip()).digest()
    return scheme.lower() == b"bearer" and hmac.compare_digest(digest, KEY)

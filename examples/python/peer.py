"""What the programs in this folder share: connections that send no command twice, and JSON that every peer can read."""

import json
import math
import random
import re
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

BLOCK = 1.0  # seconds that a read waits inside Redis; a process that is told to leave does so after that
MAX_BYTES, MAX_DEPTH, MAX_VALUES, MAX_NUMBER = 16 * 1024 * 1024, 100, 1_000_000, 4096
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}:]|[^\s"\[\]{},:]+', re.DOTALL)


def connect(url, **options):
    """A client that reports each lost reply.

    redis-py has retries by default: it sends a command again if the connection broke before the reply came, and a
    request would run twice. The socket's timeout is longer than BLOCK, or it would cut a reply off. There must be one:
    a Redis that hangs would hang its clients for ever, and so it delays an error by seconds only.
    """
    return redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=BLOCK + 2,
                                socket_connect_timeout=2, **options)


def pauses():
    """Seconds to wait before each further try: ever longer, and not the same for all that lost one server."""
    longest = 0.05
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(2 * longest, 1.0)


def persist(action, until=math.inf, stopped=lambda: False):
    """What `action` returns. It is called again after an error of Redis, so calling it twice must do no harm."""
    for pause in pauses():
        try:
            return action()
        except redis.RedisError:
            if stopped() or time.monotonic() + pause >= until:
                raise
            time.sleep(pause)


def redis_time(client):
    """Milliseconds on Redis's clock: the one clock that all peers share."""
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def write_json(value):
    """The text; ValueError or TypeError for what other peers could not read. Python would write NaN, for example."""
    try:
        return check(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None


def read_json(text):
    """The value; ValueError if the text (str or bytes) is not JSON within the limits of docs/protocol.md."""
    text = text.decode() if isinstance(text, bytes) else text
    return json.loads(check(text), parse_constant=refuse)


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def check(text):
    """The text if it is within the limits. It may still be no JSON."""
    if len(text.encode()) > MAX_BYTES:  # half a surrogate pair raises UnicodeEncodeError, which is a ValueError
        raise ValueError(f"the JSON is longer than {MAX_BYTES} bytes")
    depth = values = 0
    for token in map(re.Match.group, TOKEN.finditer(text)):
        first = token[0]
        depth += (first in "[{") - (first in "]}")
        values += {"]": 0, "}": 0, ":": -1}.get(first, 1)  # the key before a colon is no value
        if depth > MAX_DEPTH or values > MAX_VALUES:
            raise ValueError(f"the JSON is nested more than {MAX_DEPTH} deep or has more than {MAX_VALUES} values")
        if first in "-0123456789" and len(token) > MAX_NUMBER:
            raise ValueError(f"the JSON has a number of more than {MAX_NUMBER} characters")
        if first == '"' and "\\ud" in token.lower():
            json.loads(token).encode()  # the same for half a pair that is escaped
    return text

"""Publishes and consumes: `python events_demo.py STREAM GROUP`, with REDIS_URL, and perhaps LEASE and ATTEMPTS.

With ORDER=key it consumes in the order of each key. With LIST, what is handled is also appended to the list LIST:KEY.

Each line of standard input is an event to publish: {"data": ..., "type": ..., "key": ..., "id": ..., "partitions": ...};
the answer is its position. Each event that is handled is a line, too. Data {"fail": true} raises, {"wait": true} waits for ever.
"""

import contextlib
import json
import os
import signal
import sys
import threading

from events import Consumer, publish
from events_in_order import OrderedConsumer
from peer import connect

lock = threading.Lock()


def tell(**what):
    with lock:
        print(json.dumps(what), flush=True)


def handle(event):
    data = event.data
    tell(by=f"python {os.getpid()}", data=data, type=event.type, key=event.key, attempt=event.attempt)
    if isinstance(data, dict) and data.get("fail"):
        raise ValueError("no")
    if isinstance(data, dict) and data.get("wait"):
        threading.Event().wait()
    if listing:
        client.rpush(f"{listing}:{event.key}", json.dumps(data))


def stop(*_):
    raise SystemExit


stream, group = sys.argv[1:]
url, lease, attempts, order, listing = (
    os.environ.get(name) for name in ("REDIS_URL", "LEASE", "ATTEMPTS", "ORDER", "LIST"))
client = connect(url, decode_responses=True)
kind = OrderedConsumer if order == "key" else Consumer
consumer = kind(url, stream, group, handle, start="0", attempts=int(attempts or 5), lease=float(lease or 30)).connect()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
with contextlib.suppress(SystemExit):
    for line in sys.stdin:
        tell(position=publish(client, stream, **json.loads(line)))
consumer.leave(timeout=1)
os._exit(0)  # handlers that still run are left to their leases

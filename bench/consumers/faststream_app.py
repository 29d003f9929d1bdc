"""FastStream, with its defaults: it acknowledges each event. faststream_app.py port=6379 group=g ..."""
import asyncio
import os
import resource
import sys
import time

import redis
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

settings = dict(word.split("=", 1) for word in sys.argv[1:])
stamp = settings["handler"] == "stamp"
warm_up, seconds, events = (float(settings[name]) for name in ("warm_up", "seconds", "events"))
# FastStream would begin at the end of the stream.
try:
    redis.Redis(port=int(settings["port"])).xgroup_create("events", settings["group"], "0", mkstream=True)
except redis.ResponseError as error:
    if not str(error).startswith("BUSYGROUP"):
        raise
broker = RedisBroker(f"redis://127.0.0.1:{settings['port']}", logger=None)
app = FastStream(broker, logger=None)
done, first, began, last = 0, None, None, None


@broker.subscriber(stream=StreamSub("events", group=settings["group"], consumer="one", max_records=100, last_id=">"))
async def handle(data: dict):
    global done, first, began, last
    if stamp:
        print(time.monotonic_ns(), flush=True)
    data["number"]
    # The events before this one are acknowledged.
    now = (done, time.monotonic(), time.process_time())
    done += 1
    if stamp:
        return
    first = first or now
    if began is None:
        began = now if now[1] - first[1] >= warm_up else None
        return
    last = now
    if done >= events or now[1] - began[1] >= seconds:
        count, took, cpu = (after - before for after, before in zip(last, began))
        print(f"events={count} seconds={took} cpu_us={cpu * 1e6:.0f} "
              f"rss_kib={resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}", flush=True)
        os._exit(0)


@app.after_startup
async def ready():
    if stamp:
        print("ready", flush=True)


asyncio.run(app.run())

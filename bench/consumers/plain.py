"""A plain loop with redis-py, as consumers/plain.rb: plain.py acknowledge=batch port=6379 group=g ..."""
import json
import resource
import sys
import time

import redis

settings = dict(word.split("=", 1) for word in sys.argv[1:])
group, each = settings["group"], settings["acknowledge"] == "each"
stamp = settings["handler"] == "stamp"
warm_up, seconds, events = (float(settings[name]) for name in ("warm_up", "seconds", "events"))
client = redis.Redis(port=int(settings["port"]))
try:
    client.xgroup_create("events", group, "0", mkstream=True)
except redis.ResponseError as error:
    if not str(error).startswith("BUSYGROUP"):
        raise


def handle(entry_id, fields):
    data = json.loads(fields[b"data"])
    if stamp:
        print(time.monotonic_ns(), flush=True)
    data["number"]
    if each:
        client.xack("events", group, entry_id)


if stamp:
    print("ready", flush=True)
done, first, began, last = 0, None, None, None
while stamp or done < events and (began is None or time.monotonic() - began[1] < seconds):
    reply = client.xreadgroup(group, "one", {"events": ">"}, count=100, block=5000)
    if not reply:
        continue
    entries = reply[0][1] if isinstance(reply, list) else next(iter(reply.values()))[0]
    for entry_id, fields in entries:
        handle(entry_id, fields)
    if not each:
        client.xack("events", group, *(entry_id for entry_id, _ in entries))
    done += len(entries)
    now = (done, time.monotonic(), time.process_time())
    first = first or now
    if began is None:
        began = now if now[1] - first[1] >= warm_up else None
    else:
        last = now
events, took, cpu = (after - before for after, before in zip(last, began))
print(f"events={events} seconds={took} cpu_us={cpu * 1e6:.0f} "
      f"rss_kib={resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")

"""A subscriber to channels with redis-py, as consumers/subscriber.rb: subscriber.py ports=6379 channels=100 ..."""
import os
import sys
import threading
import time

import redis

settings = dict(word.split("=", 1) for word in sys.argv[1:])
ports = [int(port) for port in settings["ports"].split(",")]
is_sharded = settings["source"] == "shard_channel"
# As those of harness/live_world.rb.
suffixes = [":{0}", ":{1}", ":{3}"] if is_sharded else [""]
channels = [f"channel{number}{suffixes[number % len(suffixes)]}" for number in range(int(settings["channels"]))]
events = int(settings["events"])
count, began, confirmed = 0, None, 0
lock = threading.Lock()


def note(message):
    global count, began, confirmed
    if message["type"] in ("subscribe", "ssubscribe"):
        confirmed += 1
        if confirmed == len(channels):
            print("ready", flush=True)
        return
    count += 1 if len(message["data"]) > 0 else 0
    began = began or (time.monotonic(), time.process_time())
    if count == events:
        took, cpu = time.monotonic() - began[0], time.process_time() - began[1]
        print(f"events={count - 1} seconds={took} cpu_us={cpu * 1e6:.0f}", flush=True)
        os._exit(0)


def read_node(port, names):
    subscriber = redis.Redis(port=port).pubsub(ignore_subscribe_messages=False)
    for suffix in suffixes:
        of_slot = [name for name in names if name.endswith(suffix)]
        if of_slot:
            subscriber.ssubscribe(*of_slot)
    for message in subscriber.listen():
        with lock:
            note(message)


if is_sharded:
    # A thread reads each node.
    client = redis.Redis(port=ports[0])
    slots = client.execute_command("CLUSTER SLOTS")
    by_port = {}
    for name in channels:
        slot = client.execute_command("CLUSTER KEYSLOT", name)
        port = next(primary[1] for first, last, primary, *_ in slots if first <= slot <= last)
        by_port.setdefault(port, []).append(name)
    readers = [threading.Thread(target=read_node, args=item) for item in by_port.items()]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
else:
    subscriber = redis.Redis(port=ports[0]).pubsub(ignore_subscribe_messages=False)
    subscriber.subscribe(*channels)
    for message in subscriber.listen():
        note(message)

"""A subscriber to channels with redis-py, as consumers/subscriber.rb: subscriber.py port=6379 channels=100 ..."""
import os
import sys
import time

import redis

settings = dict(word.split("=", 1) for word in sys.argv[1:])
channels = [f"channel{number}" for number in range(int(settings["channels"]))]
events = int(settings["events"])
subscriber = redis.Redis(port=int(settings["port"])).pubsub(ignore_subscribe_messages=False)
subscriber.subscribe(*channels)
count, began, confirmed = 0, None, 0
for message in subscriber.listen():
    if message["type"] == "subscribe":
        confirmed += 1
        if confirmed == len(channels):
            print("ready", flush=True)
        continue
    count += 1 if len(message["data"]) > 0 else 0
    began = began or (time.monotonic(), time.process_time())
    if count == events:
        took, cpu = time.monotonic() - began[0], time.process_time() - began[1]
        print(f"events={count - 1} seconds={took} cpu_us={cpu * 1e6:.0f}", flush=True)
        os._exit(0)

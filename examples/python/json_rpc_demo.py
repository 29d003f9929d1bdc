"""Runs a server (`python json_rpc_demo.py QUEUE serve`) or a client (`python json_rpc_demo.py QUEUE`), with REDIS_URL.

"wait" takes SECONDS.
Each line of the client's standard input is a call: {"method": name, "params": ..., "timeout": seconds}.
"""

import json
import os
import signal
import sys
import time

from json_rpc import Client, RPCError, Server, TimedOut


def subtract(minuend, subtrahend):
    return minuend - subtrahend


def echo(value):
    return {"by": f"python {os.getpid()}", "value": value}


def refuse(reason):
    raise RPCError(1000, "refused", reason)


def nonsense(data=False):
    if data:
        raise RPCError(1000, "refused", {1, 2})
    return float("nan")


def wait():
    print("started", flush=True)
    time.sleep(float(os.environ.get("SECONDS", 0)))
    return echo(None)


def call(client, request):
    try:
        return {"value": client.call(request["method"], request["params"], request["timeout"])}
    except RPCError as error:
        return {"rejected": error.to_dict()}
    except TimedOut as error:
        return {"timeout": error.args[0]}
    except (TypeError, ValueError) as error:
        return {"refused": str(error)}


queue, *serve = sys.argv[1:]
url = os.environ["REDIS_URL"]
if serve:
    server = Server(url, queue, {"subtract": subtract, "echo": echo, "refuse": refuse, "wait": wait,
                                 "nonsense": nonsense})
    signal.signal(signal.SIGTERM, lambda *_: server.leave())
    print("ready", flush=True)
    server.serve()
    sys.exit()
client = Client(url, queue)
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(call(client, json.loads(line))), flush=True)
client.close()

"""Runs a member: `python stream_demo.py STREAM GROUP [serve]`, with REDIS_URL.

"wait" takes SECONDS. Each line of standard input is a request: {"to": group, "content": ..., "timeout": seconds}.
"""

import contextlib
import json
import os
import signal
import sys
import time

from stream_member import Member, Rejected, TimedOut


def handle(content):
    if content["do"] == "reject":
        raise Rejected(content["reason"])
    if content["do"] == "nonsense":
        raise Rejected(float("nan"))
    if content["do"] == "wait":
        print("started", flush=True)
        time.sleep(float(os.environ.get("SECONDS", 0)))
    return {"by": f"python {os.getpid()}", "value": content.get("value")}


def ask(member, request):
    try:
        return {"value": member.ask(request["to"], request["content"], request["timeout"])}
    except Rejected as rejection:
        return {"rejected": rejection.args[0]}
    except TimedOut as error:
        return {"timeout": error.args[0]}
    except (TypeError, ValueError) as error:
        return {"refused": str(error)}


def stop(*_):
    raise SystemExit


stream, group, *serve = sys.argv[1:]
member = Member(os.environ["REDIS_URL"], stream, group, handle if serve else None).connect()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
with contextlib.suppress(SystemExit):
    for line in sys.stdin:
        print(json.dumps(ask(member, json.loads(line))), flush=True)
member.leave()
os._exit(0)  # handlers that still run are left to their leases

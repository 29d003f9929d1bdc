"""A full member of a redis_ipc stream: asks, answers, keeps its leases. Written from docs/protocol.md."""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import redis

LEASE = 2.0  # seconds; all members of a group must agree on it
BLOCK, REPLIES_LIFETIME, INBOX_LIFETIME = 10_000, 30_000, 3_660_000  # ms


def encode(name):
    """A name as it stands in keys."""
    return name.replace("%", "%25").replace(":", "%3A")


class Rejected(Exception):
    """The request was refused; its argument is the reason, whatever the answerer sent."""


class TimedOut(Exception):
    """No answer came in time; its argument is "unclaimed" (it did not run) or "unknown"."""


class Member:
    """One instance of a group. With a handler it answers; what the handler returns is the answer."""

    def __init__(self, url, stream, group, handler=None, threads=4):
        # The socket's timeout is well above BLOCK, or a read that times out would swallow an answer.
        self.redis = redis.Redis.from_url(
            url, decode_responses=True, encoding_errors="replace", socket_timeout=BLOCK / 1000 + 5)
        self.stream, self.group, self.instance = stream, group, secrets.token_hex(16)
        self.inbox, self.replies = self.inbox_of(group), f"{stream}:replies:{encode(group)}:{self.instance}"
        self.me = f"{encode(group)}:{self.instance}:{encode(socket.gethostname())}:{os.getpid()}"
        self.handler, self.threads, self.pool = handler, threads, ThreadPoolExecutor(threads)
        self.asked, self.held, self.lock = {}, {}, threading.Lock()
        self.offset, self.left = 0, threading.Event()

    def inbox_of(self, group):
        return f"{self.stream}:inbox:{encode(group)}"

    def now(self):
        """Redis's time in ms: deadlines are reckoned on its clock."""
        return int(time.monotonic() * 1000) + self.offset

    def connect(self):
        self.read_clock()
        self.make_replies()
        for loop in [self.read_replies, self.keep_house] + ([self.read_requests] if self.handler else []):
            threading.Thread(target=self.forever, args=(loop,), daemon=True).start()
        return self

    def leave(self):
        self.left.set()
        self.redis.zrem(f"{self.stream}:instances", self.me)
        self.redis.delete(self.replies)

    def forever(self, loop):
        while not self.left.is_set():
            try:
                loop()
            except redis.RedisError as error:
                print(f"{loop.__name__}: {error}", file=sys.stderr)
                time.sleep(0.2)

    def ask(self, to, content, timeout=5.0):
        request_id, answer = secrets.token_hex(16), Future()
        self.asked[request_id] = answer
        fields = {"id": request_id, "instance_id": self.instance, "status": "pending",
                  "content": json.dumps(content), "source_group": self.group, "destination_group": to,
                  "reply_to": self.replies, "ttl": int(timeout * 1000)}
        try:
            entry_id = self.redis.xadd(self.inbox_of(to), fields, minid=self.now() - INBOX_LIFETIME)
            self.keep(self.inbox_of(to))
            answered = answer.result(timeout)
        except TimeoutError:
            raise TimedOut(self.withdraw(to, entry_id)) from None
        finally:
            del self.asked[request_id]
        content = json.loads(answered["content"])
        if answered["status"] == "rejected":
            raise Rejected(content)
        return content

    def withdraw(self, to, entry_id):
        with self.redis.pipeline(transaction=True) as both:
            both.xpending_range(self.inbox_of(to), to, entry_id, entry_id, 1)
            both.xdel(self.inbox_of(to), entry_id)
            pending, deleted = both.execute(raise_on_error=False)
        nobody = pending == [] or "NOGROUP" in str(pending)
        return "unclaimed" if nobody and deleted == 1 else "unknown"

    def make_replies(self):
        self.redis.xgroup_create(self.replies, "new", "$", mkstream=True)
        self.redis.xgroup_destroy(self.replies, "new")
        self.redis.pexpire(self.replies, REPLIES_LIFETIME)
        self.position = "0-0"

    def read_replies(self):
        read = self.redis.xread({self.replies: self.position}, count=512, block=BLOCK) or []
        for self.position, fields in (entry for _, entries in read for entry in entries):
            answer = self.asked.get(fields.get("id"))
            if answer and not answer.done():  # else it is late, or a duplicate
                answer.set_result(fields)

    def join(self):
        with contextlib.suppress(redis.ResponseError):  # BUSYGROUP: it is there
            self.redis.xgroup_create(self.inbox, self.group, "0", mkstream=True)
        self.keep(self.inbox)

    def read_requests(self):
        self.join()
        while not self.left.is_set():
            room = self.threads - len(self.held)
            if room <= 0:
                time.sleep(0.005)
                continue
            # NOGROUP and UNBLOCKED are errors that end this loop: it begins again by joining.
            read = self.redis.xreadgroup(self.group, self.instance, {self.inbox: ">"}, count=room, block=BLOCK)
            for entry_id, fields in (entry for _, entries in read or [] for entry in entries):
                self.take(entry_id, fields)

    def take(self, entry_id, fields):
        ttl, reply_to = fields.get("ttl", ""), fields.get("reply_to", "")
        parts = reply_to.removeprefix(f"{self.stream}:replies:").split(":")
        # Never write to a key that is not a reply stream, whatever the request says.
        good = reply_to.startswith(f"{self.stream}:replies:") and len(parts) == 2 and all(parts) and ttl.isdecimal()
        good = good and {"id", "content", "source_group"} <= fields.keys()
        deadline = int(entry_id.split("-")[0]) + int(ttl) if good else 0
        if deadline <= self.now():
            return self.done(self.redis, entry_id)
        with self.lock:
            if entry_id not in self.held:
                self.held[entry_id] = fields
                self.pool.submit(self.run, entry_id, fields, deadline)

    def run(self, entry_id, fields, deadline):
        try:
            outcome = {"status": "fulfilled", "content": json.dumps(self.handler(json.loads(fields["content"])))}
        except Rejected as refusal:
            outcome = {"status": "rejected", "content": json.dumps(refusal.args[0])}
        except Exception as error:
            outcome = {"status": "rejected", "content": json.dumps(str(error)), "error": type(error).__name__}
        answer = {"id": fields["id"], "instance_id": self.instance, "source_group": self.group,
                  "destination_group": fields["source_group"], **outcome}
        while self.now() < deadline:
            with contextlib.suppress(redis.RedisError), self.redis.pipeline(transaction=True) as commands:
                commands.xadd(fields["reply_to"], answer, nomkstream=True)
                self.done(commands, entry_id)
                commands.execute()
                break
            time.sleep(0.05)
        self.held.pop(entry_id, None)

    def done(self, connection, entry_id):
        connection.xdel(self.inbox, entry_id)
        connection.xack(self.inbox, self.group, entry_id)

    def keep_house(self):
        steady, turn, cursor = time.monotonic(), 0, "0-0"
        while not self.left.wait(LEASE / 3):
            began, turn = time.monotonic(), turn + 1
            if held := list(self.held):
                self.redis.xclaim(self.inbox, self.group, self.instance, 0, held, justid=True)
            if turn % 2:
                self.redis.zadd(f"{self.stream}:instances", {self.me: self.now()})
            if turn % 15 == 0:
                self.read_clock()
                self.keep(self.inbox)
                if not self.redis.pexpire(self.replies, REPLIES_LIFETIME):
                    self.make_replies()
            if time.monotonic() - began > LEASE:  # after a stall every lease looks as if it had run out
                steady = time.monotonic()
            if self.handler and time.monotonic() - steady > LEASE:
                cursor = self.take_over(cursor)

    def take_over(self, cursor):
        room = max(self.threads - len(self.held), 1)
        cursor, entries, _ = self.redis.xautoclaim(
            self.inbox, self.group, self.instance, int(LEASE * 1000), cursor, count=room)
        for entry_id, fields in entries:
            self.take(entry_id, fields)
        return cursor

    def keep(self, inbox):
        self.redis.pexpire(inbox, INBOX_LIFETIME, nx=True)
        self.redis.pexpire(inbox, INBOX_LIFETIME, gt=True)

    def read_clock(self):
        asked = time.monotonic()
        seconds, micros = self.redis.time()
        self.offset = seconds * 1000 + micros // 1000 - int((asked + time.monotonic()) * 500)

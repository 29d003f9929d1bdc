"""A full member of a redis_ipc stream: asks, answers, keeps its leases. Written from docs/protocol.md."""

import concurrent.futures  # its TimeoutError is the builtin one only from Python 3.11 on
import contextlib
import os
import secrets
import socket
import sys
import threading
import time
import traceback

import redis

from peer import BLOCK, connect, pauses, persist, read_json, redis_time, write_json

LEASE = 2.0  # seconds; shown beside the presence, as others may have another one
REPLIES_LIFETIME, INBOX_LIFETIME = 30_000, 3_660_000  # ms
LOST = (redis.ConnectionError, redis.TimeoutError)  # whether the command was run is not known


def encode(name):
    """A name as it stands in keys."""
    return name.replace("%", "%25").replace(":", "%3A")


def parse_id(entry_id):
    """A stream id, to be compared."""
    return tuple(int(part) for part in entry_id.split("-"))


class Rejected(Exception):
    """The request was refused; its argument is the reason, whatever the answerer sent."""


class TimedOut(Exception):
    """No answer came in time; its argument is "not_sent" or "unclaimed" (it did not run), or "unknown"."""


class Member:
    """One instance of a group. With a handler it answers; what the handler returns is the answer."""

    def __init__(self, url, stream, group, handler=None, threads=4):
        # With surrogates for bytes that are not UTF-8, read_json refuses them.
        self.redis = connect(url, decode_responses=True, encoding_errors="surrogateescape")
        self.stream, self.group, self.instance = stream, group, secrets.token_hex(16)
        self.inbox, self.replies = self.inbox_of(group), f"{stream}:replies:{encode(group)}:{self.instance}"
        self.me = f"{encode(group)}:{self.instance}:{encode(socket.gethostname())}:{os.getpid()}"
        self.my_lease = f"{self.me}:{int(LEASE * 1000)}"
        self.handler, self.threads = handler, threads
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.asked, self.held, self.lock = {}, {}, threading.Lock()
        self.offset, self.position, self.loops = 0, "0-0", []
        self.taking, self.left, self.breaks = handler is not None, False, 0

    def inbox_of(self, group):
        return f"{self.stream}:inbox:{encode(group)}"

    def now(self):
        """Redis's time in ms: deadlines are reckoned on its clock."""
        return int(time.monotonic() * 1000) + self.offset

    def connect(self):
        persist(self.read_clock, time.monotonic() + 5)
        self.make_replies()
        for loop, goes_on in [(self.read_requests, lambda: self.taking),
                              (self.read_replies, lambda: not self.left), (self.keep_house, lambda: not self.left)]:
            self.loops.append(threading.Thread(target=self.forever, args=(loop, goes_on), daemon=True))
            self.loops[-1].start()
        return self

    def leave(self, timeout=10.0):
        """Takes no more, and lets handlers finish. What runs longer is left to its lease: another will run it again."""
        until, self.taking = time.monotonic() + timeout, False
        self.loops[0].join()
        while self.held and time.monotonic() < until:
            time.sleep(0.01)
        self.left = True  # not before: leases were renewed while handlers ran
        for loop in self.loops:
            loop.join()
        with contextlib.suppress(redis.RedisError):
            self.redis.zrem(f"{self.stream}:instances", self.me, self.my_lease)
            self.redis.delete(self.replies)

    def forever(self, loop, goes_on):
        waits = pauses()
        while goes_on():
            try:
                loop()
                waits = pauses()
            except redis.RedisError as error:
                print(f"{loop.__name__}: {error}", file=sys.stderr)
                self.breaks += 1
                time.sleep(next(waits))

    def ask(self, to, content, timeout=5.0):
        until, request_id, answer = time.monotonic() + timeout, secrets.token_hex(16), concurrent.futures.Future()
        fields = {"id": request_id, "instance_id": self.instance, "status": "pending", "content": write_json(content),
                  "source_group": self.group, "destination_group": to, "reply_to": self.replies}
        self.asked[request_id] = answer
        try:
            entry_id, breaks = self.send(self.inbox_of(to), fields, until), self.breaks
            answered = answer.result(max(until - time.monotonic(), 0))
        except concurrent.futures.TimeoutError:
            outcome = self.withdraw(to, entry_id, fields)
            # If something broke since, it may be another server, which does not know that somebody had taken the request.
            raise TimedOut(outcome if breaks == self.breaks else "unknown") from None
        finally:
            del self.asked[request_id]
        if "resent" in fields:  # one copy was answered, and the other is not wanted any more
            self.withdraw(to, entry_id, fields)
        content = read_json(answered["content"])
        if answered["status"] == "rejected":
            raise Rejected(content)
        return content

    def send(self, inbox, fields, until):
        """The id of the entry. Where a reply got lost a copy may stand there: the next says that it is not the first."""
        for pause in pauses():
            sent = False
            try:
                self.make_replies()  # without it nobody could answer. What fails here has not left
                sent = True
                left = max(int((until - time.monotonic()) * 1000), 1)
                entry_id = self.redis.xadd(inbox, {**fields, "ttl": left}, minid=self.now() - INBOX_LIFETIME)
                with contextlib.suppress(redis.RedisError):
                    self.keep(inbox)
                return entry_id
            except LOST as error:
                if sent:
                    fields["resent"] = 1
                if time.monotonic() + pause >= until:
                    raise TimedOut("unknown" if "resent" in fields else "not_sent") from error
                time.sleep(pause)

    def withdraw(self, to, entry_id, fields):
        with contextlib.suppress(redis.RedisError), self.redis.pipeline(transaction=True) as both:
            both.xinfo_groups(self.inbox_of(to)).xdel(self.inbox_of(to), entry_id)
            groups, deleted = both.execute(raise_on_error=False)
            if deleted == 1 and "resent" not in fields:
                last = {group["name"]: parse_id(group["last-delivered-id"]) for group in groups}
                known = [last.get(to), last.get(f"{to}:since")]
                # There never was a group, or the only one since the request was added has not come to it.
                if known == [None, None] or all(it and it < parse_id(entry_id) for it in known):
                    return "unclaimed"
        return "unknown"

    def make_replies(self):
        if not self.redis.pexpire(self.replies, REPLIES_LIFETIME):
            group = secrets.token_hex(8)  # threads do not stand in each other's way
            # At once: a connection that broke in between would leave a stream that never expires.
            with self.redis.pipeline() as commands:
                commands.xgroup_create(self.replies, group, "$", mkstream=True)
                commands.xgroup_destroy(self.replies, group)
                commands.pexpire(self.replies, REPLIES_LIFETIME)
                commands.execute()
            self.position = "0-0"

    def read_replies(self):
        self.make_replies()  # it may be gone after an error, with the answers that others wait for
        while not self.left:
            read = self.redis.xread({self.replies: self.position}, count=512, block=int(BLOCK * 1000)) or []
            for self.position, fields in (entry for _, entries in read for entry in entries):
                answer = self.asked.get(fields.get("id"))
                if answer and not answer.done() and {"status", "content"} <= fields.keys():
                    answer.set_result(fields)  # else it is late, or a duplicate

    def join(self):
        new, since = self.create(self.group, "0"), f"{self.group}:since"
        if not self.create(since, "0" if new else "$") and new:  # askers are to see that it was made again
            self.redis.xgroup_setid(self.inbox, since, "$")
        self.keep(self.inbox)

    def create(self, group, start):
        with contextlib.suppress(redis.ResponseError):  # BUSYGROUP: it is there
            return self.redis.xgroup_create(self.inbox, group, start, mkstream=True)

    def read_requests(self):
        """NOGROUP and UNBLOCKED are errors that end it: it begins again by joining."""
        self.join()
        self.recover()
        while self.taking:
            room = self.threads - len(self.held)
            if room <= 0:
                time.sleep(0.005)
                continue
            read = self.redis.xreadgroup(
                self.group, self.instance, {self.inbox: ">"}, count=room, block=int(BLOCK * 1000)) or []
            for entry_id, fields in (entry for _, entries in read for entry in entries):
                self.take(entry_id, fields)

    def recover(self):
        """What a lost reply brought is held here and known to nobody. RETRYCOUNT: this is no further delivery."""
        pending = self.redis.xpending_range(self.inbox, self.group, "-", "+", 100, self.instance)
        lost = [entry["message_id"] for entry in pending if entry["times_delivered"] == 1]
        lost = [entry_id for entry_id in lost if entry_id not in self.held]
        if lost:
            for entry_id, fields in self.redis.xclaim(self.inbox, self.group, self.instance, 0, lost, retrycount=1):
                self.take(entry_id, fields)

    def take(self, entry_id, fields):
        ttl, reply_to = fields.get("ttl", ""), fields.get("reply_to", "")
        parts = reply_to.removeprefix(f"{self.stream}:replies:").split(":")
        # Never write to a key that is not a reply stream, whatever the request says.
        good = reply_to.startswith(f"{self.stream}:replies:") and len(parts) == 2 and all(parts)
        good = good and ttl.isascii() and ttl.isdigit() and len(ttl) <= 15
        good = good and {"id", "content", "source_group"} <= fields.keys()
        deadline = int(entry_id.split("-")[0]) + int(ttl) if good else 0
        if deadline <= self.now():
            return self.done(self.redis, entry_id)
        with self.lock:
            if entry_id not in self.held:
                self.held[entry_id] = fields
                self.pool.submit(self.run, entry_id, fields, deadline)

    def run(self, entry_id, fields, deadline):
        answer = {"id": fields["id"], "instance_id": self.instance, "source_group": self.group,
                  "destination_group": fields["source_group"], **self.outcome(fields)}

        def finish():  # an asker that is answered twice ignores the second
            with self.redis.pipeline(transaction=True) as commands:
                if self.now() < deadline:
                    commands.xadd(fields["reply_to"], answer, nomkstream=True)
                self.done(commands, entry_id)
                commands.execute(raise_on_error=False)

        try:
            persist(finish, stopped=lambda: self.now() > deadline)
        except redis.RedisError as error:
            print(f"an answer was lost: {error}", file=sys.stderr)
        finally:
            del self.held[entry_id]

    def outcome(self, fields):
        try:
            try:
                return {"status": "fulfilled", "content": write_json(self.handler(read_json(fields["content"])))}
            except Rejected as refusal:
                return {"status": "rejected", "content": write_json(refusal.args[0])}
        except Exception as error:  # its message may hold secrets
            traceback.print_exc()
            return {"status": "rejected", "content": '"the handler failed"', "error": type(error).__name__}

    def done(self, connection, entry_id):
        connection.xdel(self.inbox, entry_id)
        connection.xack(self.inbox, self.group, entry_id)

    def keep_house(self):
        self.read_clock()  # after an outage it may be another server
        steady, turn, cursor = time.monotonic(), 0, "0-0"
        while not self.left:
            time.sleep(LEASE / 3)
            began, turn = time.monotonic(), turn + 1
            if held := list(self.held):
                self.redis.xclaim(self.inbox, self.group, self.instance, 0, held, justid=True)
            if turn % 2:
                self.redis.zadd(f"{self.stream}:instances", {self.me: self.now(), self.my_lease: self.now()})
                milliseconds, sequence = self.position.split("-")
                self.redis.xtrim(self.replies, minid=f"{milliseconds}-{int(sequence) + 1}")  # what has been read
            if turn % 15 == 0:
                self.read_clock()
                self.keep(self.inbox)
                self.make_replies()
            if time.monotonic() - began > LEASE:  # after a stall every lease looks as if it had run out
                steady = time.monotonic()
            if self.handler and time.monotonic() - steady > LEASE:
                cursor = self.take_over(cursor)

    def take_over(self, cursor):
        room = self.threads - len(self.held)
        if room <= 0:
            return cursor
        cursor, entries, *_ = self.redis.xautoclaim(
            self.inbox, self.group, self.instance, int(LEASE * 1000), cursor, count=room)
        for entry_id, fields in entries:
            self.take(entry_id, fields)
        return cursor

    def keep(self, inbox):
        self.redis.pexpire(inbox, INBOX_LIFETIME, nx=True)
        self.redis.pexpire(inbox, INBOX_LIFETIME, gt=True)

    def read_clock(self):
        asked = time.monotonic()
        self.offset = redis_time(self.redis) - int((asked + time.monotonic()) * 500)

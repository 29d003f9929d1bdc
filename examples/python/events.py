"""Publishes events to a Redis Stream, and handles them in a group, at least once, as docs/events_protocol.md says."""

import binascii
import concurrent.futures
import contextlib
import random
import secrets
import threading
import time
import traceback

import redis

from peer import BLOCK, connect, pauses, persist, read_json, write_json

AT_ONCE = 7 * 86_400_000  # ms; who finds an entry idle for so long may take it at once: it was handed back
OWN = {"type", "key", "data", "traceparent", "id"}
KEEP_DEAD = 7 * 86_400_000  # ms


def publish(client, stream, data, type=None, key=None, id=None, partitions=None, patience=5.0):
    """Adds an event, and returns its position. A lost reply is no reason to add it twice.

    Before it is sent again, it is looked for in what was added since it was first sent. So `id` must be new for each
    event; without one it is made. With so many partitions its key decides in which of these streams it is.
    """
    fields = {"type": type, "key": key, "data": write_json(data), "id": id or secrets.token_hex(8)}
    fields = {name: str(value) for name, value in fields.items() if value is not None}
    if partitions:
        name = fields.get("key", fields["id"])
        stream = f"{stream}:{binascii.crc_hqx(name.encode(), 0) % partitions}"
    since, until, sent = None, time.monotonic() + patience, False
    for pause in pauses():
        try:
            since = since if since is not None else client.time()[0] * 1000 - 1
            if sent and (position := find(client, stream, fields["id"], since)):
                return position
            sent = True
            return client.xadd(stream, fields)
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() + pause >= until:
                raise
            time.sleep(pause)


def find(client, stream, id, since):
    start = f"{since}-0"
    while rows := client.xrange(stream, start, "+", count=100):
        for position, fields in rows:
            if fields.get("id") == id:
                return position
        start = f"({rows[-1][0]}"
    return None


def side_key(stream, kind, group):
    """The key of something that a group has beside its stream."""
    return f"{stream}:{kind}:{group.replace('%', '%25').replace(':', '%3A')}"


def write_letter(client, key, event, reason):
    now = time.time_ns() // 1_000_000
    letter = {"dead_id": event.position, "dead_reason": reason, "dead_deliveries": event.attempt, "dead_at": now}
    # A field of the event may have one of these names, so this is no dict.
    fields = [text for pair in [*letter.items(), *event.fields.items()] for text in pair]
    with client.pipeline(transaction=False) as commands:
        commands.execute_command("XADD", key, "MAXLEN", "~", 10_000, "*", *fields)
        commands.pexpire(key, KEEP_DEAD)
        commands.execute()


class Event:
    """An entry: its position and fields; what they say; and which try this is."""

    def __init__(self, position, fields, attempt):
        self.position, self.fields, self.attempt, self.has_begun = position, fields, attempt, False
        self.is_own = "data" in fields and fields.keys() <= OWN
        self.type = fields.get("type") if self.is_own else None
        self.key = fields.get("key") if self.is_own else None

    @property
    def data(self):
        """ValueError if it should be JSON and is not."""
        return read_json(self.fields["data"]) if self.is_own else self.fields


def outcome(handler, event):
    """Handles an event. None if that went well, else why it did not."""
    try:
        handler(event)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


class Consumer:
    """One process's part in a group. `handler(event)` runs in threads; what it raises is tried again, `attempts` times."""

    def __init__(self, url, stream, group, handler, start="$", threads=5, attempts=5, lease=30.0):
        # Other programs' entries may be no UTF-8.
        options = {"decode_responses": True, "encoding_errors": "surrogateescape"}
        self.redis, self.reads = (connect(url, **options) for _ in range(2))
        self.stream, self.group, self.handler, self.start = stream, group, handler, start
        self.threads, self.attempts, self.lease = threads, attempts, lease
        self.name = secrets.token_hex(16)  # a new one for each process and connection
        self.dead = side_key(stream, "dead", group)
        self.held, self.lock = {}, threading.Lock()  # events by their positions, until they are acknowledged
        self.taking, self.left = True, threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)

    def connect(self):
        persist(self.join, until=time.monotonic() + 5)
        self.loops = [threading.Thread(target=self.keep_up, args=[it], daemon=True) for it in (self.read, self.keep_house)]
        for loop in self.loops:
            loop.start()
        return self

    def leave(self, timeout=5.0):
        """Takes no more, lets handlers finish, and hands the rest back."""
        self.taking = False
        self.loops[0].join()
        self.pool.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + timeout
        while self.running() and time.monotonic() < until:
            time.sleep(0.01)
        self.left.set()
        with contextlib.suppress(redis.RedisError):
            for event in list(self.held.values()):
                # What had not begun counts as no try.
                tries = event.attempt if event.has_begun else event.attempt - 1
                self.claim([event.position], "IDLE", AT_ONCE, "RETRYCOUNT", tries, "JUSTID")
            if not self.redis.xpending_range(self.stream, self.group, "-", "+", 1, self.name):
                self.redis.xgroup_delconsumer(self.stream, self.group, self.name)

    def running(self):
        return any(event.has_begun for event in list(self.held.values()))

    def keep_up(self, loop):
        for pause in pauses():
            try:
                return loop()
            except redis.RedisError:  # it is tried again, from joining on: the group may be gone, too
                if self.left.wait(pause) or not self.taking:
                    return None

    def join(self):
        with contextlib.suppress(redis.ResponseError):  # BUSYGROUP: it is there
            self.redis.xgroup_create(self.stream, self.group, self.start, mkstream=True)

    def read(self):
        self.join()
        self.recover()
        while self.taking:
            room = self.threads - len(self.held)
            if room <= 0:
                time.sleep(0.005)
                continue
            read = self.reads.xreadgroup(self.group, self.name, {self.stream: ">"}, count=room,
                                         block=int(BLOCK * 1000)) or []
            for position, fields in (entry for _, entries in read for entry in entries):
                self.take(position, fields, 1)

    def recover(self):
        """What a lost reply brought is pending under our name, and held by nobody."""
        rows = self.redis.xpending_range(self.stream, self.group, "-", "+", 100, self.name)
        self.fetch({row["message_id"]: row["times_delivered"] for row in rows if row["message_id"] not in self.held})

    def fetch(self, deliveries):
        """Reads pending entries. XCLAIM without JUSTID would count as a delivery, so it is told the count."""
        for position, count in deliveries.items():
            found = dict(self.redis.xclaim(self.stream, self.group, self.name, 0, [position], retrycount=count))
            if found.get(position):
                self.take(position, found[position], count)
            else:
                self.redis.xack(self.stream, self.group, position)  # it was deleted

    def take(self, position, fields, attempt):
        with self.lock:
            if position in self.held:
                return
            event = self.held[position] = Event(position, fields, attempt)
        self.pool.submit(self.run, event)

    def run(self, event):
        while self.taking:
            error = f"delivered {event.attempt - 1} times without being done"
            if event.attempt <= self.attempts:
                event.has_begun = True
                error = outcome(self.handler, event)
            if error is None:
                return self.settle(event, lambda: self.redis.xack(self.stream, self.group, event.position))
            if event.attempt >= self.attempts:
                return self.settle(event, lambda: self.bury(event, error))
            # Redis is told of the try, so that it counts if this process dies.
            event.attempt, event.has_begun = event.attempt + 1, False
            if self.left.wait(2 ** (event.attempt - 2) * random.uniform(1, 1.15)):
                return None
            persist(lambda: self.claim([event.position], "RETRYCOUNT", event.attempt, "JUSTID"), stopped=self.left.is_set)
        return None

    def settle(self, event, action):
        """Acknowledging twice does no harm. If Redis stays away, the event is handled again after a lease."""
        with contextlib.suppress(redis.RedisError):
            persist(action, stopped=self.left.is_set)
        self.held.pop(event.position, None)

    def bury(self, event, reason):
        write_letter(self.redis, self.dead, event, reason)
        self.redis.xack(self.stream, self.group, event.position)

    def keep_house(self):
        steady, renewed = time.monotonic(), time.monotonic()
        while not self.left.wait(min(self.lease / 3, 1.0)):
            began = time.monotonic()
            if began - renewed >= self.lease / 3 and self.held:
                self.claim(list(self.held), "JUSTID")  # renews the leases; JUSTID counts no delivery
            renewed = began if began - renewed >= self.lease / 3 else renewed
            # After a stall every lease looks as if it had run out. What was handed back is taken at once all the same.
            idle = self.lease * 1000 if began - steady > self.lease else AT_ONCE
            if self.taking and (room := self.threads - len(self.held)) > 0:
                self.take_over(int(idle), room)
            if time.monotonic() - began > self.lease / 3:
                steady = time.monotonic()

    def take_over(self, idle, room):
        rows = self.redis.xpending_range(self.stream, self.group, "-", "+", room, idle=idle)
        for row in (row for row in rows if row["message_id"] not in self.held):
            position, count = row["message_id"], row["times_delivered"] + 1
            # Of several that claim it at once, one gets it: the others do not find it idle.
            claimed = self.redis.xclaim(self.stream, self.group, self.name, idle, [position], retrycount=count)
            for found, fields in claimed:
                if fields:
                    self.take(found, fields, count)

    def claim(self, positions, *options):
        return self.redis.execute_command("XCLAIM", self.stream, self.group, self.name, 0, *positions, *options)

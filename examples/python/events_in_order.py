"""Handles the events of a Redis Stream in the order of each key, at least once, as docs/events_protocol.md says.

One loop beats, saves, marks and reads. Handlers run in threads. It has no careful mode, and carries out no decisions
about dead letters: those wait until a Ruby process owns the lane.
"""

import binascii
import concurrent.futures
import contextlib
import random
import secrets
import threading
import time
import traceback

import redis

from events import Event, outcome, side_key, write_letter
from peer import connect, persist

SAVE, MARK, STEP = 0.2, 1.0, 0.1  # seconds: between saves, between marks, and that a read waits inside Redis
ROOM = 1000  # events that wait here at most before more are read

BEAT = """
local hash, me, lease, lanes = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires = string.format('%.0f', now + lease)
if redis.call('HSETNX', hash, 'lanes', ARGV[3]) == 1 then redis.call('HSET', hash, 'start', ARGV[4]) end
local all, flat = {}, redis.call('HGETALL', hash)
for i = 1, #flat, 2 do all[flat[i]] = flat[i + 1] end
if tonumber(all.lanes) ~= lanes then return redis.error_reply('LANES ' .. all.lanes) end

local joined = string.match(all['i:' .. me] or '', ' (%d+)$') or string.format('%.0f', now)
redis.call('HSET', hash, 'i:' .. me, expires .. ' ' .. joined)
local count, before = 1, 0
for field, value in pairs(all) do
  local other, till, since = string.match(field, '^i:(.+)'), string.match(value, '^(%d+) (%d+)$')
  if other and other ~= me then
    if tonumber(till) < now then redis.call('HDEL', hash, field)
    else
      count = count + 1
      local earlier = tonumber(since) - tonumber(joined)
      if earlier < 0 or earlier == 0 and other < me then before = before + 1 end
    end
  end
end
local share = math.floor(lanes / count)
if before < lanes % count then share = share + 1 end

local kept, named, claims = {}, {}, {}
for i = 5, #ARGV, 2 do
  local field = 'o:' .. ARGV[i]
  local owner, epoch = string.match(all[field] or '', '^(%S+) (%d+) ')
  if owner == me and epoch == ARGV[i + 1] then
    redis.call('HSET', hash, field, me .. ' ' .. epoch .. ' ' .. expires)
    kept[#kept + 1], named[field] = ARGV[i], true
  end
end
local mine = #kept
for lane = 0, lanes - 1 do
  local field = 'o:' .. lane
  local owner, epoch, till = string.match(all[field] or '- 0 0', '^(%S+) (%d+) (%d+)$')
  if mine < share and not named[field] and (owner == me or tonumber(till) < now) then
    epoch = string.format('%.0f', math.max(tonumber(epoch) + 1, now))
    redis.call('HSET', hash, field, me .. ' ' .. epoch .. ' ' .. expires)
    local died = all['x:' .. lane] or '0'
    if owner ~= '-' and owner ~= me then died = tostring(redis.call('HINCRBY', hash, 'x:' .. lane, 1)) end
    claims[#claims + 1] = { tostring(lane), epoch, all['c:' .. lane] or all.start, died }
    mine = mine + 1
  end
end
return { tostring(share), kept, claims }
"""

SAVE_LANES = """
local refused = {}
for i = 2, #ARGV, 4 do
  local lane, epoch, what = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local owner, current = string.match(redis.call('HGET', KEYS[1], 'o:' .. lane) or '', '^(%S+) (%d+) ')
  if owner == ARGV[1] and current == epoch then
    redis.call('HSET', KEYS[1], 'c:' .. lane, ARGV[i + 2])
    if what ~= 'keep' then redis.call('HDEL', KEYS[1], 'x:' .. lane) end
    if what == 'free' then redis.call('HSET', KEYS[1], 'o:' .. lane, '- ' .. epoch .. ' 0') end
  else refused[#refused + 1] = lane end
end
return refused
"""


def rank(position):
    return tuple(map(int, position.split("-")))


class Lane:
    """A lane that this instance owns: until when, and how far it has come since its checkpoint."""

    def __init__(self, epoch, checkpoint, died, until):
        position, self.ordinal, self.upto, *left = checkpoint.split(" ")
        self.epoch, self.died, self.until, self.saved = epoch, int(died), until, checkpoint
        self.began = self.cursor = position  # all entries up to the cursor were read
        self.left = {id: int(tries.rstrip("!") or 0) for id, _, tries in (word.partition("*") for word in left)}
        self.inherited, self.inherited_upto = dict(self.left), self.upto
        self.open = {}  # events that were read and are not done, by their positions, in their order
        self.is_leaving, self.finished = False, 0

    def read(self, position, fields):
        """Moves the cursor. `fields` are those of an event of this lane, and None for others."""
        if rank(position) <= rank(self.cursor):
            return
        tries = self.left.pop(position, None)
        if fields is not None and (tries is not None or rank(position) > rank(self.inherited_upto)):
            event = self.open[position] = Event(position, fields, 1 + (tries or 0))
            event.before, event.due = self.cursor, 0
        self.cursor = position

    def finish(self, event):
        if self.open.pop(event.position, None):
            self.finished += 1
            self.upto = max(self.upto, event.position, key=rank)

    def checkpoint(self):
        # Everything before the first open event is done. What its predecessor left, and was not read yet, stays left.
        position = next((event.before for event in self.open.values()), self.cursor)
        upto = max(self.upto, position, key=rank)
        tries = {event.position: event.attempt - 1 for event in self.open.values()}
        tries.update((id, count) for id, count in self.left.items() if rank(id) > rank(self.cursor))
        words = [f"{id}*{count}" if count else id for id, count in tries.items() if count or rank(id) < rank(upto)]
        ordinal = self.ordinal if position == self.began else "-"
        return " ".join([position, ordinal, upto, *words])

    def is_harmless(self):
        """Whether an event is done, or many if two owners died, and none is open that the owner before had passed."""
        passed = any(id in self.open or rank(id) > rank(self.cursor) for id in self.inherited
                     if rank(id) <= rank(self.inherited_upto))
        return not passed and self.finished >= (100 if self.died > 1 and self.open else 1)


class OrderedConsumer:
    """One instance. `handler(event)` runs in threads, for one event of a key at a time; what it raises is tried again."""

    def __init__(self, url, stream, group, handler, start="$", threads=5, attempts=5, lease=30.0, lanes=64):
        # Other programs' entries may be no UTF-8.
        self.redis = connect(url, decode_responses=True, encoding_errors="surrogateescape")
        self.stream, self.group, self.handler, self.start = stream, group, handler, start
        self.threads, self.attempts, self.lease, self.count = threads, attempts, lease, lanes
        self.name = secrets.token_hex(16)
        self.hash, self.dead = side_key(stream, "events", group), side_key(stream, "dead", group)
        self.lanes, self.lock = {}, threading.RLock()
        self.running = {}  # the lane of each key of which an event runs, also when the lane is another's meanwhile
        self.cursor, self.taking = "0-0", True
        self.next_beat = self.next_save = self.next_mark = 0
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.loop = threading.Thread(target=self.keep_up, daemon=True)

    def connect(self):
        """ResponseError `LANES n` if the consumer has another number of lanes."""
        if self.start == "$":
            self.start = "0"
            with contextlib.suppress(redis.ResponseError):  # there is no stream
                self.start = self.redis.xinfo_stream(self.stream)["last-generated-id"]
        position = self.start if "-" in self.start else f"{self.start}-0"
        self.beat(f"{position} - {position}")
        self.loop.start()
        return self

    def leave(self, timeout=5.0):
        """Begins nothing more, lets handlers finish, and releases its lanes."""
        self.taking, until = False, time.monotonic() + timeout
        self.loop.join()
        while self.running and time.monotonic() < until:
            time.sleep(0.01)
        with contextlib.suppress(redis.RedisError):  # then others take over after a lease
            for lane in self.lanes.values():
                lane.is_leaving = True
            self.save()
            self.redis.hdel(self.hash, f"i:{self.name}")

    def keep_up(self):
        while self.taking:
            try:
                now = time.monotonic()
                if now >= self.next_beat:
                    self.next_beat = now + self.lease / 10  # if it fails
                    self.beat()
                    self.next_beat = now + self.lease / 3
                if now >= self.next_save:
                    self.save()
                    self.next_save = now + SAVE
                if now >= self.next_mark and 0 in self.lanes:
                    self.mark()
                    self.next_mark = now + MARK
                self.read()
                self.begin()
            except redis.RedisError:
                traceback.print_exc()
                time.sleep(STEP)

    def beat(self, start="0-0 - 0-0"):
        """`start` is for a new hash. Where somebody deleted it while this ran, everything in the stream may be undone."""
        sent = time.monotonic()
        named = {lane: owned.epoch for lane, owned in self.lanes.items()}
        words = [word for pair in named.items() for word in pair]
        share, kept, claims = self.redis.eval(BEAT, 1, self.hash, self.name, int(self.lease * 1000), self.count, start,
                                              *words)
        with self.lock:
            kept = set(map(int, kept))
            self.lanes = {lane: owned for lane, owned in self.lanes.items() if lane in kept}
            for owned in self.lanes.values():
                owned.until = sent + self.lease
            for lane, epoch, checkpoint, died in claims:
                owned = self.lanes[int(lane)] = Lane(epoch, checkpoint, died, sent + self.lease)
                # What is read again is done, or here, in the other lanes.
                self.cursor = min(self.cursor, owned.cursor, key=rank) if len(self.lanes) > 1 else owned.cursor
            staying = sorted(lane for lane, owned in self.lanes.items() if not owned.is_leaving)
            for lane in staying[int(share):]:
                self.lanes[lane].is_leaving = True

    def save(self):
        with self.lock:
            saves = {}
            for lane, owned in self.lanes.items():
                is_free = owned.is_leaving and lane not in self.running.values()
                what = "free" if is_free else "calm" if owned.is_harmless() else "keep"
                if is_free or owned.checkpoint() != owned.saved:
                    saves[lane] = (owned.epoch, owned.checkpoint(), what)
        if not saves:
            return
        words = [word for lane, save in saves.items() for word in (lane, *save)]
        refused = set(map(int, self.redis.eval(SAVE_LANES, 1, self.hash, self.name, *words)))
        with self.lock:
            for lane, (_, checkpoint, what) in saves.items():
                self.lanes[lane].saved = checkpoint
                if lane in refused or what == "free":
                    del self.lanes[lane]

    def mark(self):
        """Shows those who trim the stream how far the slowest lane is."""
        fields = self.redis.hgetall(self.hash)
        checkpoints = [fields.get(f"c:{lane}") or fields.get("start", "0-0") for lane in range(self.count)]
        lowest = min((checkpoint.split(" ")[0] for checkpoint in checkpoints), key=rank)
        with contextlib.suppress(redis.ResponseError):  # BUSYGROUP; or there is no stream yet
            self.redis.xgroup_create(self.stream, f"{self.group}:lanes", lowest)
        with contextlib.suppress(redis.ResponseError):
            self.redis.xgroup_setid(self.stream, f"{self.group}:lanes", lowest)

    def read(self):
        if not self.lanes or sum(len(owned.open) for owned in list(self.lanes.values())) >= ROOM:
            return time.sleep(STEP)
        read = self.redis.xread({self.stream: self.cursor}, count=100, block=int(STEP * 1000)) or []
        with self.lock:
            for position, fields in (entry for _, entries in read for entry in entries):
                mine = self.lane_of(position, fields)
                for lane, owned in self.lanes.items():
                    owned.read(position, fields if lane == mine else None)
                self.cursor = position
        return None

    def key_of(self, position, fields):
        return fields.get("key", position)

    def lane_of(self, position, fields):
        key = self.key_of(position, fields).encode(errors="surrogateescape")
        return binascii.crc_hqx(key, 0) % self.count

    def begin(self):
        """Begins the first event of each key, where none of the key runs."""
        with self.lock:
            now, keys = time.monotonic(), set(self.running)
            for lane, owned in self.lanes.items():
                if owned.is_leaving or now >= owned.until:
                    continue
                for event in owned.open.values():
                    if len(self.running) >= self.threads or not self.taking:
                        return
                    key = self.key_of(event.position, event.fields)
                    if key not in keys and event.due <= now:
                        self.running[key] = lane
                        self.pool.submit(self.run, owned, key, event)
                    keys.add(key)

    def run(self, owned, key, event):
        error = f"delivered {event.attempt - 1} times without being done"
        if event.attempt <= self.attempts:
            error = outcome(self.handler, event)
        is_done = error is None
        if error and event.attempt >= self.attempts:
            with contextlib.suppress(redis.RedisError):  # then it is not done, and the letter is written later
                persist(lambda: write_letter(self.redis, self.dead, event, error), until=time.monotonic() + self.lease)
                is_done = True
        with self.lock:
            if is_done:
                owned.finish(event)
            else:
                event.due = time.monotonic() + min(2 ** (event.attempt - 1), 3600) * random.uniform(1, 1.15)
                event.attempt = min(event.attempt, self.attempts) + 1
            del self.running[key]
        self.begin()

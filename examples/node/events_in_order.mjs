// Handles the events of a Redis Stream in the order of each key, at least once, as docs/events_protocol.md says.
// One loop beats, saves, marks and reads. It has no careful mode, and carries out no decisions about dead letters: those
// wait until a Ruby process owns the lane.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Event, crc16, outcomeOf, sideKey, toObject, writeLetter } from "./events.mjs";
import { Connection, persist } from "./peer.mjs";

const [SAVE, MARK, STEP] = [200, 1_000, 100]; // ms between saves, between marks, and that a read waits inside Redis
const ROOM = 1_000; // events that wait here at most before more are read

const BEAT = `
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
`;

const SAVE_LANES = `
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
`;

// Ids as texts that can be compared. A number could not hold each of them.
const rank = (id) => id.split("-").map((part) => part.padStart(20, "0")).join("-");
const later = (one, other) => (rank(one) > rank(other) ? one : other);

// A lane that this instance owns: until when, and how far it has come since its checkpoint.
class Lane {
  constructor(epoch, checkpoint, died, until) {
    const [position, ordinal, upto, ...left] = checkpoint.split(" ");
    Object.assign(this, { epoch, until, ordinal, upto, died: Number(died), saved: checkpoint });
    this.began = this.cursor = position; // all entries up to the cursor were read
    this.left = new Map(left.map((word) => word.split("*")).map(([id, tries]) => [id, parseInt(tries ?? 0, 10)]));
    Object.assign(this, { inherited: [...this.left.keys()], inheritedUpto: upto });
    this.open = new Map(); // events that were read and are not done, by their positions, in their order
    Object.assign(this, { isLeaving: false, finished: 0 });
  }

  // Moves the cursor. `make` makes an event of this lane, and is undefined for others.
  read(position, make) {
    if (rank(position) <= rank(this.cursor)) return;
    const tries = this.left.get(position);
    this.left.delete(position);
    if (make && (tries !== undefined || rank(position) > rank(this.inheritedUpto))) {
      this.open.set(position, Object.assign(make(1 + (tries ?? 0)), { before: this.cursor, due: 0 }));
    }
    this.cursor = position;
  }

  finish({ position }) {
    if (!this.open.delete(position)) return;
    this.finished += 1;
    this.upto = later(this.upto, position);
  }

  checkpoint() {
    // Everything before the first open event is done. What its predecessor left, and was not read yet, stays left.
    const position = this.open.size ? this.open.values().next().value.before : this.cursor;
    const upto = later(this.upto, position);
    const tries = [...this.open.values()].map((event) => [event.position, event.attempt - 1]);
    for (const [id, count] of this.left) if (rank(id) > rank(this.cursor)) tries.push([id, count]);
    const words = tries.filter(([id, count]) => count || rank(id) < rank(upto))
      .map(([id, count]) => (count ? `${id}*${count}` : id));
    return [position, position === this.began ? this.ordinal : "-", upto, ...words].join(" ");
  }

  // Whether an event is done, or many if two owners died, and none is open that the owner before had passed.
  isHarmless() {
    const passed = this.inherited.some((id) => rank(id) <= rank(this.inheritedUpto) &&
      (this.open.has(id) || rank(id) > rank(this.cursor)));
    return !passed && this.finished >= (this.died > 1 && this.open.size ? 100 : 1);
  }
}

// One instance. `handler(event)` may be asynchronous; it is called for one event of a key at a time. What it throws is
// tried again.
export class OrderedConsumer {
  constructor(url, stream, group, handler, { start = "$", most = 5, attempts = 5, lease = 30_000, lanes = 64 } = {}) {
    Object.assign(this, { stream, group, handler, start, most, attempts, lease, count: lanes });
    this.redis = new Connection(url);
    this.name = randomBytes(16).toString("hex");
    Object.assign(this, { hash: sideKey(stream, "events", group), dead: sideKey(stream, "dead", group) });
    this.lanes = new Map();
    this.running = new Map(); // the lane of each key of which an event runs, also when the lane is another's meanwhile
    Object.assign(this, { cursor: "0-0", taking: true, nextBeat: 0, nextSave: 0, nextMark: 0 });
  }

  // Throws `LANES n` if the consumer has another number of lanes.
  async connect() {
    const until = performance.now() + 5_000;
    await persist(() => this.redis.ping(), until);
    if (this.start === "$") {
      const about = await this.redis.xinfo("STREAM", this.stream).catch(() => []); // there is no stream
      this.start = toObject(about)["last-generated-id"] ?? "0";
    }
    const position = this.start.includes("-") ? this.start : `${this.start}-0`;
    await this.beat(`${position} - ${position}`);
    this.loop = this.keepUp();
    return this;
  }

  // Begins nothing more, lets handlers finish, and releases its lanes.
  async leave(timeout = 5_000) {
    this.taking = false;
    const until = performance.now() + timeout;
    await this.loop;
    while (this.running.size && performance.now() < until) await sleep(10);
    try {
      for (const owned of this.lanes.values()) owned.isLeaving = true;
      await this.save();
      await this.redis.hdel(this.hash, `i:${this.name}`);
    } catch (error) {
      console.error(`others take over after a lease: ${error.message}`);
    }
    this.redis.disconnect();
  }

  async keepUp() {
    while (this.taking) {
      try {
        const now = performance.now();
        if (now >= this.nextBeat) {
          this.nextBeat = now + this.lease / 10; // if it fails
          await this.beat();
          this.nextBeat = now + this.lease / 3;
        }
        if (now >= this.nextSave) {
          await this.save();
          this.nextSave = now + SAVE;
        }
        if (now >= this.nextMark && this.lanes.has(0)) {
          await this.mark();
          this.nextMark = now + MARK;
        }
        await this.read();
        this.begin();
      } catch (error) {
        console.error(error);
        await sleep(STEP);
      }
    }
  }

  // `start` is for a new hash. Where somebody deleted it while this ran, everything in the stream may be undone.
  async beat(start = "0-0 - 0-0") {
    const sent = performance.now();
    const named = [...this.lanes].flatMap(([lane, { epoch }]) => [lane, epoch]);
    const [share, kept, claims] = await this.redis.eval(
      BEAT, 1, this.hash, this.name, Math.round(this.lease), this.count, start, ...named);
    for (const [lane, owned] of this.lanes) {
      if (kept.includes(String(lane))) owned.until = sent + this.lease;
      else this.lanes.delete(lane);
    }
    for (const [lane, epoch, checkpoint, died] of claims) {
      const owned = new Lane(epoch, checkpoint, died, sent + this.lease);
      // What is read again is done, or here, in the other lanes.
      this.cursor = this.lanes.size && rank(this.cursor) < rank(owned.cursor) ? this.cursor : owned.cursor;
      this.lanes.set(Number(lane), owned);
    }
    const staying = [...this.lanes].filter(([, owned]) => !owned.isLeaving).sort(([one], [other]) => one - other);
    for (const [, owned] of staying.slice(Number(share))) owned.isLeaving = true;
  }

  async save() {
    const busy = new Set(this.running.values());
    const saves = [];
    for (const [lane, owned] of this.lanes) {
      const isFree = owned.isLeaving && !busy.has(lane);
      const checkpoint = owned.checkpoint();
      if (!isFree && checkpoint === owned.saved) continue;
      saves.push([lane, owned.epoch, checkpoint, isFree ? "free" : owned.isHarmless() ? "calm" : "keep"]);
    }
    if (!saves.length) return;
    const refused = await this.redis.eval(SAVE_LANES, 1, this.hash, this.name, ...saves.flat());
    for (const [lane, , checkpoint, what] of saves) {
      this.lanes.get(lane).saved = checkpoint;
      if (what === "free" || refused.includes(String(lane))) this.lanes.delete(lane);
    }
  }

  // Shows those who trim the stream how far the slowest lane is.
  async mark() {
    const fields = await this.redis.hgetall(this.hash);
    const positions = Array.from({ length: this.count }, (_, lane) =>
      (fields[`c:${lane}`] ?? fields.start ?? "0-0").split(" ")[0]);
    const lowest = positions.reduce((one, other) => (later(one, other) === one ? other : one));
    const group = [this.stream, `${this.group}:lanes`, lowest];
    await this.redis.xgroup("CREATE", ...group).catch(() => {}); // it is there, or there is no stream yet
    await this.redis.xgroup("SETID", ...group).catch(() => {});
  }

  async read() {
    const waiting = [...this.lanes.values()].reduce((sum, { open }) => sum + open.size, 0);
    if (!this.lanes.size || waiting >= ROOM) return sleep(STEP);
    // As bytes: a key need not be UTF-8.
    const read = await this.redis.xreadBuffer("COUNT", 100, "BLOCK", STEP, "STREAMS", this.stream, this.cursor);
    for (const [id, flat] of read?.[0][1] ?? []) {
      const [position, fields] = [id.toString(), toObject(flat.map(String))];
      const at = flat.findIndex((name, index) => index % 2 === 0 && name.toString() === "key");
      const key = at < 0 ? id : flat[at + 1];
      const mine = crc16(key) % this.count;
      const make = (attempt) => Object.assign(new Event(position, fields, attempt), { of: key.toString("latin1") });
      for (const [lane, owned] of this.lanes) owned.read(position, lane === mine ? make : undefined);
      this.cursor = position;
    }
  }

  // Begins the first event of each key, where none of the key runs.
  begin() {
    const [now, keys] = [performance.now(), new Set(this.running.keys())];
    for (const [lane, owned] of this.lanes) {
      if (owned.isLeaving || now >= owned.until) continue;
      for (const event of owned.open.values()) {
        if (this.running.size >= this.most || !this.taking) return;
        if (!keys.has(event.of) && event.due <= now) {
          this.running.set(event.of, lane);
          this.run(owned, event).catch((error) => console.error(error));
        }
        keys.add(event.of);
      }
    }
  }

  async run(owned, event) {
    let error = `delivered ${event.attempt - 1} times without being done`;
    if (event.attempt <= this.attempts) error = await outcomeOf(this.handler, event);
    let isDone = !error;
    if (error && event.attempt >= this.attempts) {
      const until = performance.now() + this.lease;
      // If the letter cannot be written, the event is not done.
      isDone = await persist(() => writeLetter(this.redis, this.dead, event, error), until).then(() => true, () => false);
    }
    if (isDone) {
      owned.finish(event);
    } else {
      event.due = performance.now() + 1_000 * Math.min(2 ** (event.attempt - 1), 3_600) * (1 + 0.15 * Math.random());
      event.attempt = Math.min(event.attempt, this.attempts) + 1;
    }
    this.running.delete(event.of);
    this.begin();
  }
}

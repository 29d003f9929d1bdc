// Publishes events to a Redis Stream, and handles them in a group, at least once, as docs/events_protocol.md says.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BLOCK, Connection, pauses, persist, readJSON, redisTime, writeJSON } from "./peer.mjs";

const AT_ONCE = 7 * 86_400_000; // ms; who finds an entry idle for so long may take it at once: it was handed back
const OWN = new Set(["type", "key", "data", "traceparent", "id"]);
const KEEP_DEAD = 7 * 86_400_000; // ms

export const toObject = (flat) => {
  const fields = {};
  for (let index = 0; index < flat.length; index += 2) fields[flat[index]] = flat[index + 1];
  return fields;
};

// CRC16 (XMODEM), as Redis Cluster computes it.
export function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}

// Adds an event, and resolves to its position. A lost reply is no reason to add it twice: before it is sent again, it is
// looked for in what was added since it was first sent. So `id` must be new for each event; without one it is made.
// With so many partitions its key decides in which of these streams it is.
export async function publish(redis, stream, { data, type, key, id, partitions }, patience = 5_000) {
  const fields = Object.entries({ type, key, data: writeJSON(data), id: id ?? randomBytes(8).toString("hex") })
    .filter(([, value]) => value !== undefined && value !== null);
  const own = String(Object.fromEntries(fields).id);
  if (partitions) stream = `${stream}:${crc16(Buffer.from(String(key ?? own))) % partitions}`;
  const until = performance.now() + patience;
  let [since, isSent] = [null, false];
  for (const pause of pauses()) {
    try {
      since ??= (await redisTime(redis)) - 1_000;
      const found = isSent && (await find(redis, stream, own, since));
      if (found) return found;
      isSent = true;
      return await redis.xadd(stream, "*", ...fields.flat());
    } catch (error) {
      if (error.name === "ReplyError" || performance.now() + pause >= until) throw error;
      await sleep(pause);
    }
  }
}

async function find(redis, stream, id, since) {
  for (let start = `${since}-0`, rows; (rows = await redis.xrange(stream, start, "+", "COUNT", 100)).length; ) {
    for (const [position, flat] of rows) if (toObject(flat).id === id) return position;
    start = `(${rows.at(-1)[0]}`;
  }
  return null;
}

// The key of something that a group has beside its stream.
export const sideKey = (stream, kind, group) =>
  `${stream}:${kind}:${group.replaceAll("%", "%25").replaceAll(":", "%3A")}`;

export async function writeLetter(redis, key, { position, attempt, fields }, reason) {
  const letter = ["dead_id", position, "dead_reason", reason, "dead_deliveries", attempt, "dead_at", Date.now()];
  await redis.xadd(key, "MAXLEN", "~", 10_000, "*", ...letter, ...Object.entries(fields).flat());
  await redis.pexpire(key, KEEP_DEAD);
}

// An entry: its position and fields; what they say; and which try this is.
export class Event {
  constructor(position, fields, attempt) {
    Object.assign(this, { position, fields, attempt, hasBegun: false });
    this.isOwn = "data" in fields && Object.keys(fields).every((name) => OWN.has(name));
    if (this.isOwn) Object.assign(this, { type: fields.type, key: fields.key });
  }

  // Throws if it should be JSON and is not.
  get data() {
    return this.isOwn ? readJSON(this.fields.data) : this.fields;
  }
}

// Handles an event, and resolves to null if that went well, else to why it did not.
export async function outcomeOf(handler, event) {
  try {
    await handler(event);
    return null;
  } catch (error) {
    console.error(error);
    return `${error?.name ?? "Error"}: ${error?.message ?? error}`;
  }
}

// One process's part in a group. `handler(event)` may be asynchronous; what it throws is tried again, `attempts` times.
export class Consumer {
  constructor(url, stream, group, handler, { start = "$", most = 5, attempts = 5, lease = 30_000 } = {}) {
    Object.assign(this, { stream, group, handler, start, most, attempts, lease });
    this.redis = new Connection(url);
    this.reads = new Connection(url);
    this.name = randomBytes(16).toString("hex"); // a new one for each process and connection
    this.dead = sideKey(stream, "dead", group);
    this.held = new Map(); // events by their positions, until they are acknowledged
    this.taking = true;
    this.left = new AbortController();
  }

  async connect() {
    await persist(() => this.join(), performance.now() + 5_000);
    this.loops = [this.keepUp(() => this.read()), this.keepUp(() => this.keepHouse())];
    return this;
  }

  // Takes no more, lets handlers finish, and hands the rest back.
  async leave(timeout = 5_000) {
    this.taking = false;
    await this.loops[0];
    const until = performance.now() + timeout;
    while ([...this.held.values()].some((event) => event.hasBegun) && performance.now() < until) await sleep(10);
    this.left.abort();
    try {
      for (const { position, attempt, hasBegun } of this.held.values()) {
        // What had not begun counts as no try.
        await this.claim([position], "IDLE", AT_ONCE, "RETRYCOUNT", hasBegun ? attempt : attempt - 1, "JUSTID");
      }
      const pending = await this.redis.xpending(this.stream, this.group, "-", "+", 1, this.name);
      if (!pending.length) await this.redis.xgroup("DELCONSUMER", this.stream, this.group, this.name);
    } catch (error) {
      console.error(`others take over after a lease: ${error.message}`);
    }
    this.redis.disconnect();
    this.reads.disconnect();
  }

  pause(ms) {
    return sleep(ms, undefined, { signal: this.left.signal }).catch(() => {});
  }

  async keepUp(loop) {
    for (const pause of pauses()) {
      try {
        return await loop();
      } catch { // it is tried again, from joining on: the group may be gone, too
        await this.pause(pause);
        if (!this.taking) return null;
      }
    }
  }

  async join() {
    await this.redis.xgroup("CREATE", this.stream, this.group, this.start, "MKSTREAM").catch((error) =>
      error.message.startsWith("BUSYGROUP") ? null : Promise.reject(error));
  }

  async read() {
    await this.join();
    await this.recover();
    while (this.taking) {
      const room = this.most - this.held.size;
      const read = room > 0 ? await this.reads.xreadgroup(
        "GROUP", this.group, this.name, "COUNT", room, "BLOCK", BLOCK, "STREAMS", this.stream, ">") : await sleep(5);
      for (const [position, flat] of read?.[0][1] ?? []) this.take(position, toObject(flat), 1);
    }
  }

  // What a lost reply brought is pending under our name, and held by nobody.
  async recover() {
    const rows = await this.redis.xpending(this.stream, this.group, "-", "+", 100, this.name);
    for (const [position, , , count] of rows.filter(([id]) => !this.held.has(id))) await this.fetch(position, count, 0);
  }

  // Claims a pending entry that is idle for so long. XCLAIM without JUSTID would count as a delivery, so it is told the
  // count. Of several that claim it at once, one gets it: the others do not find it idle.
  async fetch(position, count, idle) {
    const claim = [this.stream, this.group, this.name, idle, position, "RETRYCOUNT", count];
    for (const [id, flat] of (await this.redis.xclaim(...claim)).filter(Boolean)) this.take(id, toObject(flat), count);
  }

  take(position, fields, attempt) {
    if (this.held.has(position)) return;
    const event = new Event(position, fields, attempt);
    this.held.set(position, event);
    this.run(event).catch((error) => console.error(error));
  }

  async run(event) {
    while (this.taking) {
      let error = `delivered ${event.attempt - 1} times without being done`;
      if (event.attempt <= this.attempts) {
        event.hasBegun = true;
        error = await outcomeOf(this.handler, event);
      }
      if (!error) return this.settle(event, () => this.redis.xack(this.stream, this.group, event.position));
      if (event.attempt >= this.attempts) return this.settle(event, () => this.bury(event, error));
      // Redis is told of the try, so that it counts if this process dies.
      Object.assign(event, { attempt: event.attempt + 1, hasBegun: false });
      await this.pause(1_000 * 2 ** (event.attempt - 2) * (1 + 0.15 * Math.random()));
      if (this.left.signal.aborted) return null;
      await persist(() => this.claim([event.position], "RETRYCOUNT", event.attempt, "JUSTID"), Infinity,
        () => this.left.signal.aborted);
    }
  }

  // Acknowledging twice does no harm. If Redis stays away, the event is handled again after a lease.
  async settle(event, action) {
    await persist(action, Infinity, () => this.left.signal.aborted).catch(() => {});
    this.held.delete(event.position);
  }

  async bury(event, reason) {
    await writeLetter(this.redis, this.dead, event, reason);
    await this.redis.xack(this.stream, this.group, event.position);
  }

  async keepHouse() {
    for (let steady = performance.now(), renewed = steady; !this.left.signal.aborted; ) {
      await this.pause(Math.min(this.lease / 3, 1_000));
      const began = performance.now();
      if (began - renewed >= this.lease / 3) {
        if (this.held.size) await this.claim([...this.held.keys()], "JUSTID"); // renews the leases; counts no delivery
        renewed = began;
      }
      // After a stall every lease looks as if it had run out. What was handed back is taken at once all the same.
      if (this.taking) await this.takeOver(began - steady > this.lease ? this.lease : AT_ONCE);
      if (performance.now() - began > this.lease / 3) steady = performance.now();
    }
  }

  async takeOver(idle) {
    const room = this.most - this.held.size;
    if (room <= 0) return;
    const rows = await this.redis.xpending(this.stream, this.group, "IDLE", idle, "-", "+", room);
    for (const [position, , , count] of rows.filter(([id]) => !this.held.has(id))) {
      await this.fetch(position, count + 1, idle);
    }
  }

  claim(positions, ...options) {
    return this.redis.call("XCLAIM", this.stream, this.group, this.name, 0, ...positions, ...options);
  }
}

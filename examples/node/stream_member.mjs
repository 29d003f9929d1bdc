// A full member of a redis_ipc stream: asks, answers, keeps its leases. Written from docs/protocol.md.

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const LEASE = 2_000; // ms; all members of a group must agree on it
const [BLOCK, REPLIES_LIFETIME, INBOX_LIFETIME] = [10_000, 30_000, 3_660_000]; // ms

// A name as it stands in keys.
const encode = (name) => name.replaceAll("%", "%25").replaceAll(":", "%3A");
const toObject = (flat) => Object.fromEntries(flat.flatMap((name, i) => (i % 2 ? [] : [[name, flat[i + 1]]])));
const toFlat = (fields) => Object.entries(fields).flat();

// The request was refused; `cause` is the reason, whatever the answerer sent.
export class Rejected extends Error {}

// No answer came in time; `cause` is "unclaimed" (it did not run) or "unknown".
export class TimedOut extends Error {}

// One instance of a group. With a handler it answers; what the handler returns is the answer.
export class Member {
  constructor(url, stream, group, handler = null, most = 4) {
    Object.assign(this, { stream, group, handler, most, instance: randomBytes(16).toString("hex") });
    // Blocking reads have connections of their own; each is retried by the loop that uses it.
    [this.redis, this.answers, this.requests] = [1, 2, 3].map(() => new Redis(url, { maxRetriesPerRequest: null }));
    this.inbox = this.inboxOf(group);
    this.replies = `${stream}:replies:${encode(group)}:${this.instance}`;
    this.me = `${encode(group)}:${this.instance}:${encode(hostname())}:${process.pid}`;
    [this.asked, this.held, this.offset, this.left] = [new Map(), new Map(), 0, false];
  }

  inboxOf(group) {
    return `${this.stream}:inbox:${encode(group)}`;
  }

  // Redis's time in ms: deadlines are reckoned on its clock.
  now() {
    return Math.round(performance.now()) + this.offset;
  }

  async connect() {
    await this.readClock();
    await this.makeReplies();
    this.forever(() => this.readReplies());
    this.forever(() => this.keepHouse());
    if (this.handler) this.forever(() => this.readRequests());
    return this;
  }

  async leave() {
    this.left = true;
    await this.redis.zrem(`${this.stream}:instances`, this.me);
    await this.redis.del(this.replies);
    [this.redis, this.answers, this.requests].forEach((connection) => connection.disconnect());
  }

  async forever(loop) {
    while (!this.left) {
      await loop().catch((error) => this.left || (console.error(error.message), sleep(200)));
    }
  }

  async ask(to, content, timeout = 5_000) {
    const id = randomBytes(16).toString("hex");
    const inbox = this.inboxOf(to);
    const answered = new Promise((resolve) => this.asked.set(id, resolve));
    const late = new AbortController();
    try {
      const entryId = await this.redis.xadd(inbox, "MINID", "~", this.now() - INBOX_LIFETIME, "*", ...toFlat({
        id, instance_id: this.instance, status: "pending", content: JSON.stringify(content),
        source_group: this.group, destination_group: to, reply_to: this.replies, ttl: timeout,
      }));
      await this.keep(inbox);
      const fields = await Promise.race([answered, sleep(timeout, null, { signal: late.signal })]);
      if (!fields) throw new TimedOut("no answer", { cause: await this.withdraw(inbox, to, entryId) });
      const answer = JSON.parse(fields.content);
      if (fields.status === "rejected") throw new Rejected("rejected", { cause: answer });
      return answer;
    } finally {
      late.abort();
      this.asked.delete(id);
    }
  }

  async withdraw(inbox, to, entryId) {
    const both = this.redis.multi().xpending(inbox, to, entryId, entryId, 1).xdel(inbox, entryId);
    const [[error, pending], [, deleted]] = await both.exec();
    const nobody = error ? error.message.startsWith("NOGROUP") : pending.length === 0;
    return nobody && deleted === 1 ? "unclaimed" : "unknown";
  }

  async makeReplies() {
    await this.redis.xgroup("CREATE", this.replies, "new", "$", "MKSTREAM");
    await this.redis.xgroup("DESTROY", this.replies, "new");
    await this.redis.pexpire(this.replies, REPLIES_LIFETIME);
    this.position = "0-0";
  }

  async readReplies() {
    const read = await this.answers.xread("COUNT", 512, "BLOCK", BLOCK, "STREAMS", this.replies, this.position);
    for (const [entryId, flat] of read?.[0][1] ?? []) {
      this.position = entryId;
      const fields = toObject(flat);
      this.asked.get(fields.id)?.(fields); // nobody waits: it is late, or a duplicate
    }
  }

  // NOGROUP and UNBLOCKED are errors that end this loop: it begins again by joining.
  async readRequests() {
    const join = this.redis.xgroup("CREATE", this.inbox, this.group, "0", "MKSTREAM");
    await join.catch((error) => error.message.startsWith("BUSYGROUP") || Promise.reject(error));
    await this.keep(this.inbox);
    while (!this.left) {
      const room = this.most - this.held.size;
      const read = room > 0 ? await this.requests.xreadgroup(
        "GROUP", this.group, this.instance, "COUNT", room, "BLOCK", BLOCK, "STREAMS", this.inbox, ">") : await sleep(5);
      for (const [entryId, flat] of read?.[0][1] ?? []) this.take(entryId, toObject(flat));
    }
  }

  take(entryId, fields) {
    const prefix = `${this.stream}:replies:`;
    const parts = (fields.reply_to ?? "").slice(prefix.length).split(":");
    // Never write to a key that is not a reply stream, whatever the request says.
    const good = fields.reply_to?.startsWith(prefix) && parts.length === 2 && parts.every(Boolean);
    const deadline = good ? Number(entryId.split("-")[0]) + Number(fields.ttl) : 0;
    if (!(deadline > this.now())) return this.done(this.redis.multi(), entryId).exec();
    if (this.held.has(entryId)) return null;
    this.held.set(entryId, fields);
    return this.run(entryId, fields, deadline).catch(console.error);
  }

  async run(entryId, fields, deadline) {
    const outcome = await this.outcomeOf(fields);
    const answer = toFlat({
      id: fields.id, instance_id: this.instance, source_group: this.group,
      destination_group: fields.source_group, ...outcome,
    });
    for (let sent = false; !sent && this.now() < deadline; ) {
      const commands = this.redis.multi().xadd(fields.reply_to, "NOMKSTREAM", "*", ...answer);
      sent = await this.done(commands, entryId).exec().then(() => true, () => sleep(50, false));
    }
    this.held.delete(entryId);
  }

  async outcomeOf(fields) {
    try {
      const answer = await this.handler(JSON.parse(fields.content));
      return { status: "fulfilled", content: JSON.stringify(answer ?? null) };
    } catch (error) {
      if (error instanceof Rejected) return { status: "rejected", content: JSON.stringify(error.cause) };
      return { status: "rejected", content: JSON.stringify(error.message), error: error.name };
    }
  }

  done(commands, entryId) {
    return commands.xdel(this.inbox, entryId).xack(this.inbox, this.group, entryId);
  }

  async keepHouse() {
    for (let turn = 0, steady = this.now(), cursor = "0-0"; !this.left; turn += 1) {
      const began = this.now();
      const held = [...this.held.keys()];
      if (held.length) await this.redis.xclaim(this.inbox, this.group, this.instance, 0, ...held, "JUSTID");
      if (turn % 2) await this.redis.zadd(`${this.stream}:instances`, this.now(), this.me);
      if (turn % 15 === 14) {
        await this.readClock();
        await this.keep(this.inbox);
        if (!(await this.redis.pexpire(this.replies, REPLIES_LIFETIME))) await this.makeReplies();
      }
      if (this.now() - began > LEASE) steady = this.now(); // after a stall every lease looks as if it had run out
      if (this.handler && this.now() - steady > LEASE) cursor = await this.takeOver(cursor);
      await sleep(LEASE / 3);
    }
  }

  async takeOver(cursor) {
    const room = Math.max(this.most - this.held.size, 1);
    const [next, entries] = await this.redis.xautoclaim(
      this.inbox, this.group, this.instance, LEASE, cursor, "COUNT", room);
    for (const [entryId, flat] of entries) this.take(entryId, toObject(flat));
    return next;
  }

  async keep(inbox) {
    await this.redis.pexpire(inbox, INBOX_LIFETIME, "NX");
    await this.redis.pexpire(inbox, INBOX_LIFETIME, "GT");
  }

  async readClock() {
    const asked = performance.now();
    const [seconds, micros] = (await this.redis.time()).map(Number);
    this.offset = seconds * 1000 + Math.floor(micros / 1000) - Math.round((asked + performance.now()) / 2);
  }
}

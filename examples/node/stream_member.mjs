// A full member of a redis_ipc stream: asks, answers, keeps its leases. Written from docs/protocol.md.

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { BLOCK, Connection, pauses, persist, readJSON, redisTime, within, writeJSON } from "./peer.mjs";

const LEASE = 2_000; // ms; shown beside the presence, as others may have another one
const [REPLIES_LIFETIME, INBOX_LIFETIME] = [30_000, 3_660_000]; // ms

const CONTENT = Buffer.from("content");

// A name as it stands in keys.
const encode = (name) => name.replaceAll("%", "%25").replaceAll(":", "%3A");
// The content stays a Buffer: readJSON refuses what is no UTF-8. Of a repeated field the first counts.
const toObject = (flat) => Object.fromEntries(flat.flatMap((name, i) => (i % 2 ? [] : [
  [name.toString(), name.equals(CONTENT) ? flat[i + 1] : flat[i + 1].toString()]])).reverse());
const isAfter = (id, other) => {
  const [[ms, sequence], [otherMs, otherSequence]] = [id, other].map((it) => it.split("-").map(Number));
  return ms > otherMs || (ms === otherMs && sequence > otherSequence);
};
const toFlat = (fields) => Object.entries(fields).flat();

// The request was refused; `cause` is the reason, whatever the answerer sent.
export class Rejected extends Error {}

// No answer came in time; `cause` is "not_sent" or "unclaimed" (it did not run), or "unknown".
export class TimedOut extends Error {}

// One instance of a group. With a handler it answers; what the handler returns is the answer.
export class Member {
  constructor(url, stream, group, handler = null, most = 4) {
    Object.assign(this, { stream, group, handler, most, instance: randomBytes(16).toString("hex") });
    [this.redis, this.answers, this.requests] = [1, 2, 3].map(() => new Connection(url)); // two for blocking reads
    this.inbox = this.inboxOf(group);
    this.replies = `${stream}:replies:${encode(group)}:${this.instance}`;
    this.me = `${encode(group)}:${this.instance}:${encode(hostname())}:${process.pid}`;
    Object.assign(this, { asked: new Map(), held: new Map(), offset: 0, position: "0-0", taking: handler !== null, left: false });
    this.breaks = 0;
  }

  inboxOf(group) {
    return `${this.stream}:inbox:${encode(group)}`;
  }

  // Redis's time in ms: deadlines are reckoned on its clock.
  now() {
    return Math.round(performance.now()) + this.offset;
  }

  async connect() {
    await persist(() => this.readClock(), performance.now() + 5_000);
    await this.makeReplies();
    this.taker = this.forever(() => this.readRequests(), () => this.taking);
    const goesOn = () => !this.left;
    this.loops = [this.forever(() => this.readReplies(), goesOn), this.forever(() => this.keepHouse(), goesOn)];
    return this;
  }

  // Takes no more, and lets handlers finish. What runs longer is left to its lease: another will run it again.
  async leave(timeout = 10_000) {
    const until = performance.now() + timeout;
    this.taking = false;
    await this.taker;
    while (this.held.size && performance.now() < until) await sleep(10);
    this.left = true; // not before: leases were renewed while handlers ran
    await Promise.all(this.loops);
    await this.redis.zrem(`${this.stream}:instances`, this.me, `${this.me}:${LEASE}`).catch(() => {});
    await this.redis.del(this.replies).catch(() => {});
    [this.redis, this.answers, this.requests].forEach((connection) => connection.disconnect());
  }

  async forever(loop, goesOn) {
    for (let waits = pauses(); goesOn(); ) {
      try {
        await loop();
        waits = pauses();
      } catch (error) {
        console.error(error.message);
        this.breaks++;
        await sleep(waits.next().value);
      }
    }
  }

  async ask(to, content, timeout = 5_000) {
    const [until, id, inbox] = [performance.now() + timeout, randomBytes(16).toString("hex"), this.inboxOf(to)];
    const fields = {
      id, instance_id: this.instance, status: "pending", content: writeJSON(content),
      source_group: this.group, destination_group: to, reply_to: this.replies,
    };
    const answered = new Promise((resolve) => this.asked.set(id, resolve));
    try {
      const entryId = await within(timeout, this.send(inbox, fields, until), null);
      const { breaks } = this;
      if (!entryId) throw new TimedOut("Redis did not confirm the request", { cause: "unknown" });
      const answer = await within(until - performance.now(), answered, null);
      if (!answer || fields.resent) {
        // If there are two copies one was answered, and the other is not wanted any more.
        const outcome = await within(250, this.withdraw(inbox, to, entryId).catch(() => "unknown"), "unknown");
        // If something broke since, it may be another server, which does not know that somebody had taken the request.
        const isSure = !fields.resent && breaks === this.breaks;
        if (!answer) throw new TimedOut("no answer", { cause: isSure ? outcome : "unknown" });
      }
      const value = readJSON(answer.content);
      if (answer.status === "rejected") throw new Rejected("rejected", { cause: value });
      return value;
    } finally {
      this.asked.delete(id);
    }
  }

  // The id of the entry. Where a reply got lost a copy may stand there, so the next says that it is not the first.
  async send(inbox, fields, until) {
    for (const pause of pauses()) {
      let isOut = false;
      try {
        await this.makeReplies(); // without it nobody could answer. What fails here has not left
        isOut = this.redis.status === "ready";
        const left = Math.max(Math.floor(until - performance.now()), 1);
        const trim = ["MINID", "~", this.now() - INBOX_LIFETIME];
        const entryId = await this.redis.xadd(inbox, ...trim, "*", ...toFlat({ ...fields, ttl: left }));
        await this.keep(inbox).catch(() => {});
        return entryId;
      } catch (error) {
        if (error.name === "ReplyError") throw error;
        if (isOut) fields.resent = 1;
        if (performance.now() + pause >= until) {
          throw new TimedOut(error.message, { cause: fields.resent ? "unknown" : "not_sent" });
        }
        await sleep(pause);
      }
    }
  }

  async withdraw(inbox, to, entryId) {
    const [[, groups], [, deleted]] = await this.redis.multi().xinfo("GROUPS", inbox).xdel(inbox, entryId).exec();
    if (deleted !== 1) return "unknown"; // it was answered, or dropped
    const valueOf = (facts, name) => facts[facts.indexOf(name) + 1];
    const last = new Map(groups.map((facts) => [valueOf(facts, "name"), valueOf(facts, "last-delivered-id")]));
    const known = [to, `${to}:since`].map((group) => last.get(group));
    // There never was a group, or the only one since the request was added has not come to it.
    const isNobodys = !known.some(Boolean) || known.every((id) => id && isAfter(entryId, id));
    return isNobodys ? "unclaimed" : "unknown";
  }

  async makeReplies() {
    if (await this.redis.pexpire(this.replies, REPLIES_LIFETIME)) return;
    const group = randomBytes(8).toString("hex"); // calls do not stand in each other's way
    // At once: a connection that broke in between would leave a stream that never expires.
    const made = await this.redis.multi().xgroup("CREATE", this.replies, group, "$", "MKSTREAM")
      .xgroup("DESTROY", this.replies, group).pexpire(this.replies, REPLIES_LIFETIME).exec();
    for (const [error] of made) if (error) throw error;
    this.position = "0-0";
  }

  async readReplies() {
    await this.makeReplies(); // it may be gone after an error, with the answers that others wait for
    while (!this.left) {
      const read = await this.answers.xreadBuffer(
        "COUNT", 512, "BLOCK", BLOCK, "STREAMS", this.replies, this.position);
      for (const [entryId, flat] of read?.[0][1] ?? []) {
        this.position = entryId.toString();
        const fields = toObject(flat);
        if (fields.content) this.asked.get(fields.id)?.(fields); // nobody waits: it is late, or a duplicate
      }
    }
  }

  // NOGROUP and UNBLOCKED are errors that end this loop: it begins again by joining.
  async readRequests() {
    const create = (group, start) => this.redis.xgroup("CREATE", this.inbox, group, start, "MKSTREAM").catch((error) =>
      error.message.startsWith("BUSYGROUP") ? "BUSYGROUP" : Promise.reject(error));
    const isNew = (await create(this.group, "0")) === "OK";
    const since = `${this.group}:since`; // so that askers see that the group was made again
    if (await create(since, isNew ? "0" : "$") !== "OK" && isNew) await this.redis.xgroup("SETID", this.inbox, since, "$");
    await this.keep(this.inbox);
    await this.recover();
    while (this.taking) {
      const room = this.most - this.held.size;
      const read = room > 0 ? await this.requests.xreadgroupBuffer(
        "GROUP", this.group, this.instance, "COUNT", room, "BLOCK", BLOCK, "STREAMS", this.inbox, ">") : await sleep(5);
      for (const [entryId, flat] of read?.[0][1] ?? []) this.take(entryId.toString(), toObject(flat));
    }
  }

  // What a lost reply brought is held here and known to nobody. RETRYCOUNT: this is no further delivery.
  async recover() {
    const pending = await this.redis.xpending(this.inbox, this.group, "-", "+", 100, this.instance);
    const lost = pending.filter(([entryId, , , count]) => count === 1 && !this.held.has(entryId)).map(([id]) => id);
    if (!lost.length) return;
    const claim = ["XCLAIM", this.inbox, this.group, this.instance, 0, ...lost, "RETRYCOUNT", 1];
    for (const [entryId, flat] of await this.redis.callBuffer(...claim)) this.take(entryId.toString(), toObject(flat));
  }

  take(entryId, fields) {
    if (this.held.has(entryId)) return;
    this.held.set(entryId, fields);
    this.run(entryId, fields).catch((error) => console.error(`an answer was lost: ${error.message}`))
      .finally(() => this.held.delete(entryId));
  }

  async run(entryId, fields) {
    const deadline = this.isGood(fields) ? Number(entryId.split("-")[0]) + Number(fields.ttl) : 0;
    const outcome = this.now() < deadline ? await this.outcomeOf(fields) : {};
    const answer = toFlat({
      id: fields.id, instance_id: this.instance, source_group: this.group,
      destination_group: fields.source_group, ...outcome,
    });
    // An asker that is answered twice ignores the second.
    await persist(() => {
      const commands = this.redis.multi();
      if (this.now() < deadline) commands.xadd(fields.reply_to, "NOMKSTREAM", "*", ...answer);
      return commands.xdel(this.inbox, entryId).xack(this.inbox, this.group, entryId).exec();
    }, Infinity, () => this.now() > deadline);
  }

  // Never write to a key that is not a reply stream, whatever the request says.
  isGood({ id, content, source_group: source, reply_to: replyTo = "", ttl }) {
    const prefix = `${this.stream}:replies:`;
    const parts = replyTo.slice(prefix.length).split(":");
    return replyTo.startsWith(prefix) && parts.length === 2 && parts.every(Boolean)
      && id && content && source && /^\d{1,15}$/.test(ttl);
  }

  async outcomeOf(fields) {
    try {
      try {
        return { status: "fulfilled", content: writeJSON(await this.handler(readJSON(fields.content))) };
      } catch (error) {
        if (!(error instanceof Rejected)) throw error;
        return { status: "rejected", content: writeJSON(error.cause) };
      }
    } catch (error) {
      console.error(error); // its message may hold secrets
      return { status: "rejected", content: '"the handler failed"', error: error?.name ?? "Error" };
    }
  }

  async keepHouse() {
    await this.readClock(); // after an outage it may be another server
    for (let turn = 1, steady = performance.now(), cursor = "0-0"; !this.left; turn += 1) {
      await sleep(LEASE / 3);
      const began = performance.now();
      const held = [...this.held.keys()];
      if (held.length) await this.redis.xclaim(this.inbox, this.group, this.instance, 0, ...held, "JUSTID");
      if (turn % 2) {
        await this.redis.zadd(`${this.stream}:instances`, this.now(), this.me, this.now(), `${this.me}:${LEASE}`);
        const [ms, sequence] = this.position.split("-");
        await this.redis.xtrim(this.replies, "MINID", `${ms}-${Number(sequence) + 1}`); // what has been read
      }
      if (turn % 15 === 0) {
        await this.readClock();
        await this.keep(this.inbox);
        await this.makeReplies();
      }
      const now = performance.now();
      if (now - began > LEASE) steady = now; // after a stall every lease looks as if it had run out
      if (this.handler && now - steady > LEASE) cursor = await this.takeOver(cursor);
    }
  }

  async takeOver(cursor) {
    const room = this.most - this.held.size;
    if (room <= 0) return cursor;
    const [next, entries] = await this.redis.xautoclaimBuffer(
      this.inbox, this.group, this.instance, LEASE, cursor, "COUNT", room);
    for (const [entryId, flat] of entries) this.take(entryId.toString(), toObject(flat));
    return next.toString();
  }

  async keep(inbox) {
    await this.redis.pexpire(inbox, INBOX_LIFETIME, "NX");
    await this.redis.pexpire(inbox, INBOX_LIFETIME, "GT");
  }

  async readClock() {
    const asked = performance.now();
    this.offset = (await redisTime(this.redis)) - Math.round((asked + performance.now()) / 2);
  }
}

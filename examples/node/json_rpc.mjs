// JSON-RPC 2.0 over Redis lists: a client and a server. Written from docs/json_rpc.md.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const LEASE = 2_000; // ms; all servers of a queue must agree on it
const ANSWER_EXPIRY = 60_000; // ms

async function redisTime(redis) {
  const [seconds, micros] = (await redis.time()).map(Number);
  return seconds * 1000 + Math.floor(micros / 1000);
}

// The error of a method: throw it in a method, or catch it from `Client.call`.
export class RPCError extends Error {
  constructor(code, message, data) {
    super(message);
    Object.assign(this, { code, data });
  }

  toJSON() {
    return { code: this.code, message: this.message, data: this.data };
  }
}

// No answer came in time; `cause` is "unclaimed" (it did not run) or "unknown".
export class TimedOut extends Error {}

// Calls methods, any number at the same time.
export class Client {
  constructor(url, queue) {
    [this.redis, this.answers] = [1, 2].map(() => new Redis(url, { maxRetriesPerRequest: null }));
    Object.assign(this, { queue, lastId: 0, open: new Map() });
    this.replyTo = `${queue}:reply:${randomBytes(16).toString("hex")}`;
    this.reading = this.read();
  }

  async call(method, params, timeout = 5_000) {
    const id = (this.lastId += 1);
    const deadline = (await redisTime(this.redis)) + timeout;
    const request = { jsonrpc: "2.0", method, params: params ?? undefined, id, reply_to: this.replyTo, deadline };
    const text = JSON.stringify(request);
    const answered = new Promise((resolve) => this.open.set(id, resolve));
    const late = new AbortController();
    try {
      await this.redis.lpush(this.queue, text);
      const answer = await Promise.race([answered, sleep(timeout, null, { signal: late.signal })]);
      // Taken back: no server had it, so it did not run.
      const withdrawn = !answer && (await this.redis.lrem(this.queue, -1, text));
      if (!answer) throw new TimedOut("no answer", { cause: withdrawn ? "unclaimed" : "unknown" });
      if (answer.error) throw new RPCError(answer.error.code, answer.error.message, answer.error.data);
      return answer.result;
    } finally {
      late.abort();
      this.open.delete(id);
    }
  }

  async notify(method, params) {
    await this.redis.lpush(this.queue, JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  async read() {
    while (!this.closed) {
      const popped = await this.answers.brpop(this.replyTo, 10).catch(() => sleep(200));
      const answer = popped && JSON.parse(popped[1]);
      this.open.get(answer?.id)?.(answer); // nobody waits: it is late
    }
  }

  async close() {
    this.closed = true;
    await this.redis.del(this.replyTo);
    [this.redis, this.answers].forEach((connection) => connection.disconnect());
  }
}

// Serves methods, one request after the other, each at least once. Parameters by name come as one object.
export class Server {
  constructor(url, queue, methods) {
    [this.redis, this.requests] = [1, 2].map(() => new Redis(url, { maxRetriesPerRequest: null }));
    Object.assign(this, { queue, methods, id: randomBytes(16).toString("hex") });
    this.processing = `${queue}:processing:${this.id}`;
  }

  async serve() {
    await this.beat();
    this.keepHouse();
    for (;;) {
      // As bytes: what is no UTF-8 could not be told from other such things.
      const text = await this.requests.blmoveBuffer(this.queue, this.processing, "RIGHT", "LEFT", 10);
      if (text === null) continue;
      await this.handle(text);
      await this.redis.lrem(this.processing, -1, text);
    }
  }

  async handle(text) {
    let message;
    try {
      message = JSON.parse(text.toString());
    } catch {
      return; // nothing in it says where an answer could go
    }
    const requests = [message].flat();
    const { reply_to: replyTo, deadline } = requests.find((request) => request?.reply_to) ?? {};
    if (deadline < (await redisTime(this.redis))) return;
    const answers = [];
    for (const request of requests) answers.push(await this.run(request));
    const wanted = answers.filter(Boolean);
    // Never write to a key that is no reply list of this queue, whatever the request says.
    const prefix = `${this.queue}:reply:`;
    if (!wanted.length || !replyTo?.startsWith?.(prefix)) return;
    if (!/^[A-Za-z0-9_-]{16,128}$/.test(replyTo.slice(prefix.length))) return;
    await this.redis.lpush(replyTo, Array.isArray(message) ? `[${wanted}]` : wanted[0]);
    await this.redis.pexpire(replyTo, ANSWER_EXPIRY);
  }

  async run(request) {
    if (!this.isRequest(request)) return this.failure(null, new RPCError(-32600, "Invalid Request"));
    const { method, params = [], id } = request;
    try {
      if (!Object.hasOwn(this.methods, method)) throw new RPCError(-32601, "Method not found");
      const result = await this.methods[method](...[params].flat());
      // What JSON has no word for, as undefined, is null.
      const text = JSON.stringify(result) ?? "null";
      return id === undefined ? null : `{"jsonrpc":"2.0","result":${text},"id":${JSON.stringify(id)}}`;
    } catch (error) {
      // The message of another error may hold secrets.
      const known = error instanceof RPCError ? error : new RPCError(-32603, "Internal error");
      return id === undefined ? null : this.failure(id, known);
    }
  }

  isRequest(request) {
    if (request?.jsonrpc !== "2.0" || typeof request.method !== "string") return false;
    return typeof (request.params ?? []) === "object";
  }

  failure(id, error) {
    try {
      return JSON.stringify({ jsonrpc: "2.0", error, id });
    } catch {
      return this.failure(id, new RPCError(-32603, "Internal error")); // its data is no JSON
    }
  }

  async keepHouse() {
    // Others are not taken for dead before they had the time to show that they live.
    for (let steady = Date.now(), last = steady; ; await sleep(LEASE / 2)) {
      try {
        await this.beat();
        if (Date.now() - last > LEASE) steady = Date.now();
        last = Date.now();
        if (last - steady > LEASE) await this.takeOver();
      } catch {
        steady = Date.now();
      }
    }
  }

  async beat() {
    await this.redis.zadd(`${this.queue}:servers`, await redisTime(this.redis), this.id);
  }

  async takeOver() {
    const limit = (await redisTime(this.redis)) - LEASE;
    for (const dead of await this.redis.zrange(`${this.queue}:servers`, "-inf", limit, "BYSCORE")) {
      while (await this.redis.lmove(`${this.queue}:processing:${dead}`, this.queue, "LEFT", "RIGHT"));
      await this.redis.zrem(`${this.queue}:servers`, dead);
    }
  }
}

// JSON-RPC 2.0 over Redis lists: a client and a server. Written from docs/json_rpc.md.

import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BLOCK, Connection, pauses, persist, readJSON, redisTime, within, writeJSON } from "./peer.mjs";

const LEASE = 2_000; // ms; all servers of a queue must agree on it
const ANSWER_EXPIRY = 60_000; // ms
const [MAX_BATCH, MAX_DELIVERIES] = [1000, 5];

// Puts back what a dead server held, the newest first, unless it has shown in between that it lives. What has killed
// its servers again and again goes to the dead letters; of equal texts only the oldest counts. The server stays known
// while a read of its own may still wait in Redis.
const TAKE_OVER = `
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not seen or tonumber(seen) > tonumber(ARGV[2]) then return end
for _ = 1, redis.call('LLEN', KEYS[2]) do
  local text = redis.call('LINDEX', KEYS[2], 0)
  local digest, oldest = redis.sha1hex(text), not redis.call('LPOS', KEYS[2], text, 'RANK', 2)
  local count = oldest and redis.call('HINCRBY', KEYS[4], digest, 1) or 0
  if count >= tonumber(ARGV[3]) then
    redis.call('HINCRBY', KEYS[4], digest, -count)
    redis.call('LMOVE', KEYS[2], KEYS[5], 'LEFT', 'LEFT')
    redis.call('LTRIM', KEYS[5], 0, 9999)
  else
    redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT')
  end
end
redis.call('PEXPIRE', KEYS[4], 86400000)
if tonumber(seen) <= tonumber(ARGV[2]) - 60000 then redis.call('ZREM', KEYS[1], ARGV[1]) end
`;

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

// No answer came in time; `cause` is "not_sent" or "unclaimed" (it did not run), or "unknown".
export class TimedOut extends Error {}

// Calls methods, any number at the same time.
export class Client {
  constructor(url, queue) {
    [this.redis, this.answers] = [1, 2].map(() => new Connection(url));
    Object.assign(this, { queue, open: new Map(), breaks: 0 });
    this.redis.on("close", () => this.breaks++);
    this.replyTo = `${queue}:reply:${randomBytes(16).toString("hex")}`;
    this.reading = this.read();
  }

  async call(method, params, timeout = 5_000) {
    const [until, id] = [performance.now() + timeout, randomBytes(8).toString("hex")];
    const now = await within(timeout, persist(() => redisTime(this.redis), until).catch(() => null), null);
    if (now === null) throw new TimedOut("Redis cannot be reached", { cause: "not_sent" });
    const text = writeJSON({
      jsonrpc: "2.0", method, params: params ?? undefined, id, reply_to: this.replyTo,
      deadline: now + Math.floor(until - performance.now()),
    });
    const answered = new Promise((resolve) => this.open.set(id, resolve));
    const breaks = this.breaks;
    try {
      // Unless Redis refused it: a lost reply does not tell whether the request arrived. Sent again it could run twice,
      // so wait for its answer.
      const sent = this.redis.lpush(this.queue, text).catch((error) => {
        if (error.name === "ReplyError") throw error;
      });
      const answer = await within(until - performance.now(), sent.then(() => answered), null);
      if (answer) return this.resultOf(readJSON(answer));
      const withdrawn = await within(250, this.withdraw(text).catch(() => false), false);
      // Where the connection broke, Redis may be another one that does not know who had it.
      throw new TimedOut("no answer", { cause: withdrawn && breaks === this.breaks ? "unclaimed" : "unknown" });
    } finally {
      this.open.delete(id);
    }
  }

  // Whether it was taken back and no server ever had it, so that it did not run.
  async withdraw(text) {
    const removed = await this.redis.lrem(this.queue, -1, text);
    const digest = createHash("sha1").update(text).digest("hex");
    return removed === 1 && !(await this.redis.hexists(`${this.queue}:deliveries`, digest));
  }

  // After an error that is no ReplyError it may have arrived: only the caller knows what to do.
  async notify(method, params) {
    await this.redis.lpush(this.queue, writeJSON({ jsonrpc: "2.0", method, params: params ?? undefined }));
  }

  resultOf({ result, error }) {
    if (result !== undefined && error == null) return result;
    if (Number.isInteger(error?.code) && typeof error.message === "string") {
      throw new RPCError(error.code, error.message, error.data);
    }
    throw new TypeError("the server's answer has neither a result nor an error of JSON-RPC");
  }

  async read() {
    for (let waits = pauses(); !this.closed; ) {
      try {
        const popped = await this.answers.brpopBuffer(this.replyTo, BLOCK / 1000);
        if (popped) this.take(popped[1]);
        waits = pauses();
      } catch {
        await sleep(waits.next().value);
      }
    }
  }

  // Whose answer it is. What nobody waits for is late, a duplicate or foreign.
  take(answer) {
    let id;
    try {
      id = readJSON(answer)?.id;
    } catch {
      // Nobody can guess an id, so what has it is the answer, even if it cannot be read.
      id = [...this.open.keys()].find((each) => answer.includes(each));
    }
    this.open.get(id)?.(answer);
  }

  async close() {
    this.closed = true;
    await this.redis.del(this.replyTo).catch(() => {});
    [this.redis, this.answers].forEach((connection) => connection.disconnect());
  }
}

// Serves methods, one request after the other, each at least once. Parameters by name come as one object.
export class Server {
  constructor(url, queue, methods) {
    [this.redis, this.requests] = [1, 2].map(() => new Connection(url));
    Object.assign(this, { queue, methods, id: randomBytes(16).toString("hex"), offset: 0, left: false, ended: false });
    this.processing = `${queue}:processing:${this.id}`;
    this.servers = `${queue}:servers`;
  }

  // Makes `serve` resolve when the running request is done.
  leave() {
    this.left = true;
  }

  async serve() {
    const house = this.keepHouse();
    for (let [lost, looked, waits] = [false, performance.now(), pauses()]; !this.left; ) {
      try {
        // Before it takes anything: nobody takes over from a server that is not known.
        await this.beat();
        // Where a reply got lost, the request it brought stands on the own list, and nobody else looks there. A read of a
        // connection that broke may also bring one later. As bytes: what is no UTF-8 could not be told from other such
        // things.
        if (performance.now() - looked > LEASE) [lost, looked] = [true, performance.now()];
        const text = lost ? await this.redis.lindexBuffer(this.processing, -1)
          : await this.requests.blmoveBuffer(this.queue, this.processing, "RIGHT", "LEFT", BLOCK / 1000);
        [lost, waits] = [lost && text !== null, pauses()];
        if (text !== null) await this.handle(text);
      } catch (error) {
        console.error(`taking requests: ${error.message}`);
        lost = true;
        await sleep(waits.next().value);
      }
    }
    this.ended = true; // not before: it showed that it lives while the last method ran
    await house;
    await this.putBack().catch(() => {}); // else others take over in a lease's time
    [this.redis, this.requests].forEach((connection) => connection.disconnect());
  }

  async putBack() {
    while (await this.redis.lmove(this.processing, this.queue, "LEFT", "RIGHT"));
    await this.redis.zrem(this.servers, this.id);
  }

  async handle(text) {
    const { replyTo, deadline, answer } = await this.answerTo(text);
    // Never write to a key that is no reply list of this queue, whatever the request says.
    const prefix = `${this.queue}:reply:`;
    const good = typeof replyTo === "string" && replyTo.startsWith(prefix)
      && /^[A-Za-z0-9_-]{16,128}$/.test(replyTo.slice(prefix.length));
    const until = Math.min(deadline, this.now() + ANSWER_EXPIRY);
    // Twice is better than never: the client ignores the second answer, and the method does not run again.
    await persist(() => {
      const commands = this.redis.multi();
      if (answer && good && this.now() < until) commands.lpush(replyTo, answer).pexpire(replyTo, ANSWER_EXPIRY);
      return commands.lrem(this.processing, -1, text).exec();
    }, Infinity, () => this.left); // if it leaves, others take over what it holds
  }

  // The list for the answer, the request's deadline, and the answer: null if there is nothing to say.
  async answerTo(text) {
    const prefix = /^([^\s"!]+)!/.exec(text.toString("latin1")); // what is no JSON-RPC can name its list so
    let message;
    try {
      message = readJSON(text.subarray(prefix ? prefix[0].length : 0));
    } catch (error) {
      console.error(`a request that cannot be read: ${error.message}`);
      const answer = this.failure(null, new RPCError(-32700, "Parse error"));
      return { replyTo: prefix?.[1], deadline: Infinity, answer };
    }
    const batch = Array.isArray(message) ? message : [message];
    const carries = (each) => isObject(each) && (each === message || Object.hasOwn(each, "reply_to"));
    const carrier = batch.find(carries) ?? {};
    const deadline = Number.isInteger(carrier.deadline) && carrier.deadline >= 0 ? carrier.deadline : Infinity;
    const answer = await this.answerBatch(batch, deadline, Array.isArray(message));
    return { replyTo: prefix?.[1] ?? carrier.reply_to, deadline, answer };
  }

  async answerBatch(batch, deadline, isBatch) {
    if (!batch.length || batch.length > MAX_BATCH) {
      const id = batch.map((each) => this.idOf(each)).find((each) => each !== null) ?? null;
      return this.failure(id, new RPCError(-32600, "Invalid Request"));
    }
    const answers = [];
    for (const request of batch) {
      if (this.now() < deadline) answers.push(await this.run(request)); // the time may run out in between
    }
    const wanted = answers.filter((each) => each !== null);
    if (!wanted.length) return null;
    return isBatch ? `[${wanted}]` : wanted[0];
  }

  async run(request) {
    const id = this.idOf(request);
    if (!this.isRequest(request)) return this.failure(id, new RPCError(-32600, "Invalid Request"));
    const isNotification = !Object.hasOwn(request, "id");
    try {
      if (!Object.hasOwn(this.methods, request.method)) throw new RPCError(-32601, "Method not found");
      const result = await this.methods[request.method](...[request.params ?? []].flat());
      return isNotification ? null : writeJSON({ jsonrpc: "2.0", result: result ?? null, id });
    } catch (error) {
      const known = error instanceof RPCError;
      if (!known) console.error(error);
      // The message of another error may hold secrets.
      return isNotification ? null : this.failure(id, known ? error : new RPCError(-32603, "Internal error"));
    }
  }

  isRequest(request) {
    if (!isObject(request) || request.jsonrpc !== "2.0" || typeof request.method !== "string") return false;
    const { params = [], id = null } = request;
    return params !== null && typeof params === "object" && isId(id);
  }

  // Also of what is no request: the client knows its call by it.
  idOf(request) {
    return isObject(request) && isId(request.id) ? request.id : null;
  }

  failure(id, error) {
    try {
      return writeJSON({ jsonrpc: "2.0", error, id });
    } catch {
      return this.failure(id, new RPCError(-32603, "Internal error")); // its data is no JSON
    }
  }

  async keepHouse() {
    // After an outage all servers look dead. Those that live need a lease's time to show it.
    for (let steady = performance.now(), last = steady; !this.ended; await sleep(LEASE / 2)) {
      try {
        await this.beat();
        const now = performance.now();
        if (now - last > LEASE) steady = now;
        last = now;
        if (now - steady > LEASE) await this.takeOver();
      } catch {
        steady = performance.now();
      }
    }
  }

  // Redis's time in ms.
  now() {
    return Math.round(performance.now()) + this.offset;
  }

  async beat() {
    this.offset = (await redisTime(this.redis)) - Math.round(performance.now());
    await this.redis.zadd(this.servers, this.now(), this.id);
  }

  async takeOver() {
    const limit = this.now() - LEASE;
    for (const dead of await this.redis.zrangeBuffer(this.servers, "-inf", limit, "BYSCORE")) {
      const keys = [this.servers, Buffer.concat([Buffer.from(`${this.queue}:processing:`), dead]), this.queue,
        `${this.queue}:deliveries`, `${this.queue}:dead`];
      await this.redis.eval(TAKE_OVER, keys.length, ...keys, dead, limit, MAX_DELIVERIES);
    }
  }
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function isId(value) {
  return value === null || ["string", "bigint"].includes(typeof value) || Number.isFinite(value); // 1e400 is Infinity
}

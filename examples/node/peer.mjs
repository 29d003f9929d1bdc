// What the programs in this folder share: connections that send no command twice, and JSON that every peer can read.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

export const BLOCK = 1_000; // ms that a read waits inside Redis; a process that is told to leave does so after that
const [MAX_BYTES, MAX_DEPTH, MAX_VALUES, MAX_NUMBER] = [16 * 1024 * 1024, 100, 1_000_000, 4096];
const TOKEN = /"|[[\]{}:]|[^\s"[\]{},:]+/g;
const MARK = randomBytes(16).toString("hex");
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, "g");
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// A connection that fails each command whose reply was lost. By default ioredis keeps such commands and sends them
// again when it is connected again, and a request would run twice. `autoResendUnfulfilledCommands: false` alone would
// leave their promises pending for ever; `maxRetriesPerRequest: 0` rejects them as soon as the connection breaks.
// Without an offline queue, nothing is sent later than its caller thinks. It connects again by itself, with backoff.
export class Connection extends Redis {
  constructor(url) {
    super(url, {
      maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, enableOfflineQueue: false, connectTimeout: 2_000,
      retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 5), 1_000) * (0.5 + Math.random() / 2),
    });
    this.on("error", (error) => (this.lastError = error)); // each command says what went wrong
  }

  // A server that is silent for longer than a read may wait is given up on: it, or the network, hangs.
  sendCommand(command, stream) {
    const silent = setTimeout(() => this.disconnect(true), BLOCK + 2_000);
    command.promise.catch(() => {}).finally(() => clearTimeout(silent));
    return super.sendCommand(command, stream);
  }
}

// Milliseconds to wait before each further try: ever longer, and not the same for all that lost one server.
export function* pauses() {
  for (let longest = 50; ; longest = Math.min(2 * longest, 1_000)) yield longest * (0.5 + Math.random() / 2);
}

// What `action` resolves to. It is called again after an error of Redis, so calling it twice must do no harm.
// `until` is on the clock of `performance.now()`.
export async function persist(action, until = Infinity, stopped = () => false) {
  for (const pause of pauses()) {
    try {
      return await action();
    } catch (error) {
      if (stopped() || performance.now() + pause >= until) throw error;
      await sleep(pause);
    }
  }
}

// What the promise resolves to, or `otherwise` when the time is up.
export async function within(ms, promise, otherwise) {
  const over = new AbortController();
  const waited = sleep(Math.max(ms, 0), otherwise, { signal: over.signal }).catch(() => {});
  return Promise.race([promise, waited]).finally(() => over.abort());
}

// Milliseconds on Redis's clock: the one clock that all peers share. Some commands, as this one, go out before ioredis
// is ready, and those that follow would be refused.
export async function redisTime(redis) {
  if (redis.status !== "ready") throw redis.lastError ?? new Error("Redis cannot be reached");
  const [seconds, micros] = (await redis.time()).map(Number);
  return seconds * 1000 + Math.floor(micros / 1000);
}

// The text; throws for what other peers could not read. JSON.stringify would make null of NaN, for example.
// A BigInt is written as the integer it is.
export function writeJSON(value) {
  const text = JSON.stringify(value, (_, each) => {
    if (typeof each === "bigint") return MARK + each;
    if (typeof each === "number" && !Number.isFinite(each)) throw new TypeError(`${each} is not JSON`);
    return each;
  });
  return checked((text ?? "null").replace(MARKED, "$1")).join("");
}

// The value; throws if the text (a string or a Buffer) is not JSON within the limits of docs/protocol.md.
// Integers that a number could not hold exactly are BigInts.
export function readJSON(text) {
  const marked = checked(typeof text === "string" ? text : UTF8.decode(text), (digits) => `"${MARK}${digits}"`);
  const long = (each) => typeof each === "string" && each.startsWith(MARK);
  return JSON.parse(marked.join(""), (_, each) => (long(each) ? BigInt(each.slice(MARK.length)) : each));
}

// The text in pieces if it is within the limits, with `replace` applied to long integers. It may still be no JSON.
function checked(text, replace = (digits) => digits) {
  if (Buffer.byteLength(text) > MAX_BYTES) throw new RangeError(`the JSON is longer than ${MAX_BYTES} bytes`);
  const pieces = [];
  let [depth, values, done, token] = [0, 0, 0];
  for (TOKEN.lastIndex = 0; (token = TOKEN.exec(text)); ) {
    const first = token[0][0];
    if (first === '"') {
      TOKEN.lastIndex = endOfString(text, token.index);
      checkSurrogates(text.slice(token.index, TOKEN.lastIndex));
    } else if (/^-?\d/.test(token[0])) {
      if (token[0].length > MAX_NUMBER) throw new RangeError(`a number of more than ${MAX_NUMBER} characters`);
      if (/^-?[1-9]\d{15,}$/.test(token[0]) && !Number.isSafeInteger(Number(token[0]))) {
        pieces.push(text.slice(done, token.index), replace(token[0]));
        done = TOKEN.lastIndex;
      }
    }
    depth += "[{".includes(first) - "]}".includes(first);
    values += { "]": 0, "}": 0, ":": -1 }[first] ?? 1; // the key before a colon is no value
    if (depth > MAX_DEPTH) throw new RangeError(`the JSON is nested more than ${MAX_DEPTH} deep`);
    if (values > MAX_VALUES) throw new RangeError(`the JSON has more than ${MAX_VALUES} values`);
  }
  return [...pieces, text.slice(done)];
}

function endOfString(text, start) {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return text.length;
}

// Half a surrogate pair is no character: others cannot read it. With the flag u a whole pair does not match.
function checkSurrogates(string) {
  if (/\p{Surrogate}/u.test(/\\ud/i.test(string) ? JSON.parse(string) : string)) {
    throw new RangeError("half a surrogate pair is not JSON");
  }
}

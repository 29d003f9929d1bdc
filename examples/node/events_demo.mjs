// Publishes and consumes: `node events_demo.mjs STREAM GROUP`, with REDIS_URL, and perhaps LEASE (s) and ATTEMPTS.
// Each line of standard input is an event to publish: {"data": ..., "type": ..., "key": ..., "id": ...}; the answer is
// its position. Each event that is handled is a line, too. Data {"fail": true} throws, {"wait": true} waits for ever.

import { createInterface } from "node:readline";
import { Consumer, publish } from "./events.mjs";
import { Connection, writeJSON } from "./peer.mjs";

const { REDIS_URL: url, LEASE = 30, ATTEMPTS = 5 } = process.env;
const tell = (what) => console.log(writeJSON(what));

async function handle(event) {
  const { data, type = null, key = null, attempt } = event;
  tell({ by: `node ${process.pid}`, data, type, key, attempt });
  if (data?.fail) throw new TypeError("no");
  if (data?.wait) await new Promise(() => {});
}

const [stream, group] = process.argv.slice(2);
const options = { start: "0", attempts: Number(ATTEMPTS), lease: Number(LEASE) * 1_000 };
const consumer = await new Consumer(url, stream, group, handle, options).connect();
const redis = new Connection(url);
const lines = createInterface({ input: process.stdin });
process.on("SIGTERM", () => lines.close());
console.log("ready");
for await (const line of lines) tell({ position: await publish(redis, stream, JSON.parse(line)) });
await consumer.leave(1_000);
process.exit(); // handlers that still run are left to their leases

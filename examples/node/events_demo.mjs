// Publishes and consumes: `node events_demo.mjs STREAM GROUP`, with REDIS_URL, and perhaps LEASE (s) and ATTEMPTS.
// Each line of standard input is an event to publish: {"data": ..., "type": ..., "key": ..., "id": ..., "partitions": ...};
// the answer is its position. Each event that is handled is a line, too. Data {"fail": true} throws, {"wait": true} waits
// for ever.
// With ORDER=key it consumes in the order of each key. With LIST, what is handled is also appended to the list LIST:KEY.

import { createInterface } from "node:readline";
import { Consumer, publish } from "./events.mjs";
import { OrderedConsumer } from "./events_in_order.mjs";
import { Connection, writeJSON } from "./peer.mjs";

const { REDIS_URL: url, LEASE = 30, ATTEMPTS = 5, ORDER, LIST } = process.env;
const tell = (what) => console.log(writeJSON(what));

async function handle(event) {
  const { data, type = null, key = null, attempt } = event;
  tell({ by: `node ${process.pid}`, data, type, key, attempt });
  if (data?.fail) throw new TypeError("no");
  if (data?.wait) await new Promise(() => {});
  if (LIST) await redis.rpush(`${LIST}:${key}`, writeJSON(data));
}

const [stream, group] = process.argv.slice(2);
const options = { start: "0", attempts: Number(ATTEMPTS), lease: Number(LEASE) * 1_000 };
const redis = new Connection(url);
const Kind = ORDER === "key" ? OrderedConsumer : Consumer;
const consumer = await new Kind(url, stream, group, handle, options).connect();
const lines = createInterface({ input: process.stdin });
process.on("SIGTERM", () => lines.close());
console.log("ready");
for await (const line of lines) tell({ position: await publish(redis, stream, JSON.parse(line)) });
await consumer.leave(1_000);
process.exit(); // handlers that still run are left to their leases

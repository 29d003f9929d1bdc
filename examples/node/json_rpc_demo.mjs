// Runs a server (`node json_rpc_demo.mjs QUEUE serve`) or a client (`node json_rpc_demo.mjs QUEUE`), with REDIS_URL.
// "wait" takes SECONDS.
// Each line of the client's standard input is a call: {"method": name, "params": ..., "timeout": seconds}.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, RPCError, Server, TimedOut } from "./json_rpc.mjs";
import { writeJSON } from "./peer.mjs";

const echo = (value) => ({ by: `node ${process.pid}`, value });
const methods = {
  echo,
  subtract: (minuend, subtrahend) => minuend - subtrahend,
  refuse: (reason) => {
    throw new RPCError(1000, "refused", reason);
  },
  nonsense: (data) => {
    if (data) throw new RPCError(1000, "refused", NaN);
    return "\ud800";
  },
  wait: async () => {
    console.log("started");
    await sleep(Number(process.env.SECONDS ?? 0) * 1000);
    return echo(null);
  },
};

async function call(client, request) {
  try {
    return { value: await client.call(request.method, request.params, request.timeout * 1000) };
  } catch (error) {
    if (error instanceof RPCError) return { rejected: error };
    if (error instanceof TimedOut) return { timeout: error.cause };
    if ([TypeError, RangeError, SyntaxError].some((each) => error instanceof each)) return { refused: error.message };
    throw error;
  }
}

const [queue, serve] = process.argv.slice(2);
if (serve) {
  const server = new Server(process.env.REDIS_URL, queue, methods);
  process.on("SIGTERM", () => server.leave());
  console.log("ready");
  await server.serve();
  process.exit();
}
const client = new Client(process.env.REDIS_URL, queue);
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  console.log(writeJSON(await call(client, JSON.parse(line))));
}
await client.close();
process.exit();

// Runs a member: `node stream_demo.mjs STREAM GROUP [serve]`, with REDIS_URL.
// "wait" takes SECONDS. Each line of standard input is a request: {"to": group, "content": ..., "timeout": seconds}.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Member, Rejected, TimedOut } from "./stream_member.mjs";

async function handle(content) {
  if (content.do === "reject") throw new Rejected("refused", { cause: content.reason });
  if (content.do === "wait") {
    console.log("started");
    await sleep(Number(process.env.SECONDS ?? 0) * 1000);
  }
  return { by: `node ${process.pid}`, value: content.value ?? null };
}

async function ask(member, request) {
  try {
    return { value: await member.ask(request.to, request.content, request.timeout * 1000) };
  } catch (error) {
    if (error instanceof Rejected) return { rejected: error.cause };
    if (error instanceof TimedOut) return { timeout: error.cause };
    throw error;
  }
}

const [stream, group, serve] = process.argv.slice(2);
const member = await new Member(process.env.REDIS_URL, stream, group, serve ? handle : null).connect();
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await ask(member, JSON.parse(line))));
}
await member.leave();
process.exit(); // handlers that still run are left to their leases

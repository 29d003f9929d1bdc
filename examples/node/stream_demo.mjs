// Runs a member: `node stream_demo.mjs STREAM GROUP [serve]`, with REDIS_URL.
// "wait" takes SECONDS. Each line of standard input is a request: {"to": group, "content": ..., "timeout": seconds}.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { writeJSON } from "./peer.mjs";
import { Member, Rejected, TimedOut } from "./stream_member.mjs";

async function handle(content) {
  if (content.do === "reject") throw new Rejected("refused", { cause: content.reason });
  if (content.do === "nonsense") throw new Rejected("refused", { cause: NaN });
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
    if ([TypeError, RangeError, SyntaxError].some((each) => error instanceof each)) return { refused: error.message };
    throw error;
  }
}

const [stream, group, serve] = process.argv.slice(2);
const member = await new Member(process.env.REDIS_URL, stream, group, serve ? handle : null).connect();
const lines = createInterface({ input: process.stdin });
process.on("SIGTERM", () => lines.close());
console.log("ready");
for await (const line of lines) {
  console.log(writeJSON(await ask(member, JSON.parse(line))));
}
await member.leave();
process.exit(); // handlers that still run are left to their leases

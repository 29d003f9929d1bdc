// A plain loop with ioredis, as consumers/plain.rb: plain.mjs acknowledge=batch port=6379 group=g ...
import Redis from "ioredis";
import { writeSync } from "node:fs";

const settings = Object.fromEntries(process.argv.slice(2).map((word) => word.split("=")));
const { group } = settings;
const each = settings.acknowledge === "each";
const stamp = settings.handler === "stamp";
const [warmUp, seconds, events] = ["warm_up", "seconds", "events"].map((name) => Number(settings[name]));
const redis = new Redis({ host: "127.0.0.1", port: Number(settings.port) });
await redis.xgroup("CREATE", "events", group, "0", "MKSTREAM").catch((error) => {
  if (!error.message.startsWith("BUSYGROUP")) throw error;
});

const clock = () => Number(process.hrtime.bigint()) / 1e9;
const cpuUs = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
if (stamp) writeSync(1, "ready\n");
let done = 0;
let first, began, last;
while (stamp || (done < events && (began === undefined || clock() - began.at < seconds))) {
  const reply = await redis.xreadgroup("GROUP", group, "one", "COUNT", 100, "BLOCK", 5000, "STREAMS", "events", ">");
  if (!reply) continue;
  const entries = reply[0][1];
  for (const [id, fields] of entries) {
    const data = JSON.parse(fields[fields.indexOf("data") + 1]);
    if (stamp) writeSync(1, `${process.hrtime.bigint()}\n`);
    data.number;
    if (each) await redis.xack("events", group, id);
  }
  if (!each) await redis.xack("events", group, ...entries.map(([id]) => id));
  done += entries.length;
  const now = { done, at: clock(), cpu: cpuUs() };
  first ??= now;
  if (began !== undefined) last = now;
  else if (now.at - first.at >= warmUp) began = now;
}
console.log(
  `events=${last.done - began.done} seconds=${last.at - began.at} cpu_us=${last.cpu - began.cpu} ` +
    `rss_kib=${process.resourceUsage().maxRSS}`,
);
redis.disconnect();

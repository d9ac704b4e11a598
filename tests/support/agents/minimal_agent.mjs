// An agent after docs/reference/protocol.md, without a library. Its results are the texts in capital
// letters. Run it: node minimal_agent.mjs SCRIPTS-FOLDER
import fs from 'node:fs';
import net from 'node:net';

const env = (name, otherwise) => process.env[`PODFLEET_${name}`] || otherwise;
const url = new URL(env('REDIS_URL'));
const [fleet, pod, stream, group] = ['FLEET', 'POD', 'STREAM', 'GROUP'].map((name) => env(name));
const results = env('RESULTS', `${stream}:results`), dead = env('DEAD', `${stream}:dead`);
const own = `podfleet:${fleet}:pod:${pod}`, fence = `${own}:fence`;

// The protocol of Redis: commands are arrays of byte strings, answers come back in order.
const socket = net.connect(Number(url.port || 6379), url.hostname);
let buffer = Buffer.alloc(0);
const waiting = [];
function parse(at) {
  const end = buffer.indexOf('\r\n', at);
  if (end < 0) return null;
  const kind = String.fromCharCode(buffer[at]), line = buffer.toString('utf8', at + 1, end), next = end + 2;
  if (kind === '+' || kind === ':') return [line, next];
  if (kind === '-') return [new Error(line), next];
  const size = Number(line);
  if (size < 0) return [null, next];
  if (kind === '$') return buffer.length < next + size + 2 ? null : [buffer.subarray(next, next + size), next + size + 2];
  const values = [];
  let from = next;
  for (let n = 0; n < size; n++) {
    const found = parse(from);
    if (!found) return null;
    values.push(found[0]);
    from = found[1];
  }
  return [values, from];
}
socket.on('data', (chunk) => {
  buffer = Buffer.concat([buffer, chunk]);
  for (let found; waiting.length && (found = parse(0)); ) {
    buffer = buffer.subarray(found[1]);
    const { resolve, reject } = waiting.shift();
    found[0] instanceof Error ? reject(found[0]) : resolve(found[0]);
  }
});
socket.on('close', () => process.exit(1));
function call(...words) {
  const parts = words.map((word) => (Buffer.isBuffer(word) ? word : Buffer.from(String(word))));
  const raw = parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')]);
  socket.write(Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...raw]));
  return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
}
const hashes = {};
async function script(name, keys, args) {
  hashes[name] ??= await call('SCRIPT', 'LOAD', fs.readFileSync(`${process.argv[2]}/${name}.lua`));
  return call('EVALSHA', hashes[name], keys.length, ...keys, ...args);
}

let state = 'working', done = 0, held = 0, idleSince = Date.now(), drain = false;
const began = Date.now();
let ackAt = 0;
async function beat() {
  const now = Date.now();
  const said = {
    version: 1, state, done, failed: 0, dead: 0, duplicates: 0, claimed: 0, in_flight: held,
    idle_ms: held ? 0 : now - idleSince, since_ack_ms: ackAt ? now - ackAt : -1, oldest_ms: 0,
    uptime_ms: now - began, rate: 0, gpu_percent: -1, handler: 'shout', host: 'node', note: '',
  };
  const keys = [own, `${own}:command`, `podfleet:${fleet}:lease`, fence];
  const [command, , fenced] = await script('heartbeat', keys, [3600000, ...Object.entries(said).flat()]);
  if (fenced === '1') process.exit(4);
  drain ||= command.length > 0;
}
async function work() {
  const [, ...flat] = await script('read', [stream, fence], [group, pod, 64, 1 << 20]);
  const worked = [];
  while (flat.length) {
    const [entry, , size] = flat.splice(0, 3), fields = {};
    for (let n = 0; n < size; n++) {
      const [name, value] = flat.splice(0, 2);
      fields[name] = value;
    }
    worked.push({ entry, id: fields.id || entry, text: fields.payload.toString(), to: fields.reply_to });
  }
  if (!worked.length) return false;
  held = worked.length;
  const lost = worked.filter((item) => item.to && String(item.to) !== results);
  const kept = worked.filter((item) => !lost.includes(item));
  const said = kept.flatMap((item) => [item.entry, item.id, item.text.toUpperCase()]);
  const [published] = await script('commit', [stream, fence], [group, pod, 0, 1, results, kept.length, ...said]);
  const failures = lost.flatMap((item) => [item.entry, 'reply_to is not allowed', '', 1]);
  if (failures.length) await script('fail', [stream, fence, dead], [group, pod, 5, ...failures]);
  done += Number(published);
  [held, ackAt, idleSince] = [0, Date.now(), Date.now()];
  return true;
}

const password = decodeURIComponent(url.password), user = decodeURIComponent(url.username);
if (password) await call('AUTH', ...(user ? [user] : []), password);
if (url.pathname.length > 1) await call('SELECT', url.pathname.slice(1));
let lastBeat = 0;
while (!drain) {
  if (Date.now() - lastBeat >= 1000 * env('HEARTBEAT_SECONDS', 3)) {
    await beat();
    lastBeat = Date.now();
  }
  if (!(await work())) await new Promise((resolve) => setTimeout(resolve, 50));
}
await script('leave', [stream, fence], [group, pod]);
state = 'drained';
await beat();
process.exit(0);

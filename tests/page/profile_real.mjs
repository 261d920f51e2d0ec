// Where the time of the page's worker goes, by Chromium's sampling profiler, with a model of a real shape (random weights):
//     node tests/page/profile_real.mjs [small|base] [f32|f16|q8_0] [prompt|decode|step] [ROWS] [LINES]
// Prints each function's own share of the samples, and the share of everything that it calls. PROFILE names a file for the whole
// profile, which Chromium's developer tools open. dist/ has no names of functions. A page with names: a copy of dist/, its
// worker-*_bg.wasm replaced by what wasm-opt -g with the other parameters of index.html's worker makes of
// wasm-bindgen/release/worker_bg.wasm in cargo's target folder; DIST names the copy.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dist } from "./harness.mjs";
import { browse, models, OURS, ours, serve, TOKENS } from "./real_sides.mjs";

const [size = "small", type = "q8_0", what = "decode", rows = "1", most = "25"] = process.argv.slice(2);

/** Attaches to the worker of a page: `send` sends a command of Chromium's protocol to it. */
async function attach(context, page) {
  const session = await context.newCDPSession(page), waiting = new Map();
  let last = 0;
  const attached = new Promise((found) => session.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => targetInfo.type === "worker" && found(sessionId)));
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const sessionId = await attached;
  return (method, params = {}) => new Promise((done) => {
    waiting.set(++last, done);
    session.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: last, method, params }) });
  });
}

/** A function's name without the hash at its end. */
const readable = (name) => name.replace(/::h[0-9a-f]{16}(\[\d+\])?$/, "").replaceAll("{{closure}}", "{…}");

const folder = await mkdtemp(join(tmpdir(), "detox-lab-profile-"));
const site = await serve(dist, OURS), browser = await browse(join(folder, "profile"));
try {
  const mine = await ours(browser, site, await models(size), type);
  await mine.load(what === "step" ? "reward" : "tiny", 1);
  const write = async (n) => (await mine.write(Number(rows), n))[0];
  await write(4);
  const send = await attach(browser.context, mine.page());
  await send("Profiler.enable");
  await send("Profiler.setSamplingInterval", { interval: 500 });
  await send("Profiler.start");
  if (what === "step") console.log(JSON.stringify(await mine.steps(1)));
  else if (what === "prompt") for (let i = 0; i < 5; i++) console.log(`${await write(1)} s`);
  else for (let i = 0; i < 3; i++) console.log(`${await write(1 + 4 * TOKENS)} s`);
  const { profile } = await send("Profiler.stop");
  if (process.env.PROFILE) await writeFile(process.env.PROFILE, JSON.stringify(profile));
  const nodes = new Map(profile.nodes.map((node) => [node.id, { name: readable(node.callFrame.functionName) || "(no name)", children: node.children ?? [] }]));
  for (const node of nodes.values()) for (const child of node.children) nodes.get(child).parent = node;
  // A function's own share, and the share of everything that it calls.
  const own = new Map(), whole = new Map(), add = (map, name, took) => map.set(name, (map.get(name) ?? 0) + took);
  let all = 0;
  profile.samples.forEach((id, i) => {
    let node = nodes.get(id);
    const took = profile.timeDeltas[i + 1] ?? 0, names = new Set();
    if (["(idle)", "(program)"].includes(node.name)) return;
    add(own, node.name, took);
    for (; node; node = node.parent) names.add(node.name);
    for (const name of names) add(whole, name, took);
    all += took;
  });
  console.log(`flan-t5-${size}, ${type}, ${what}, ${rows} row${rows === "1" ? "" : "s"}: ${(all / 1e6).toFixed(2)} s in samples\n   own     all  function`);
  const percent = (took) => `${(100 * took / all).toFixed(1).padStart(5)} %`;
  const chosen = [...whole].filter(([name, took]) => /^[^(]/.test(name) && Math.max(own.get(name) ?? 0, took / 10) > all / 200);
  for (const [name, took] of chosen.sort((a, b) => (own.get(b[0]) ?? 0) - (own.get(a[0]) ?? 0) || b[1] - a[1]).slice(0, Number(most))) {
    console.log(`${percent(own.get(name) ?? 0)} ${percent(took)}  ${name}`);
  }
} finally {
  await browser.close();
  await site.close();
  await rm(folder, { recursive: true, force: true });
}

// Where the time of the page's worker goes, by Chromium's sampling profiler, with a model of a real shape (random weights):
//     node tests/page/profile_real.mjs [small|base] [f32|f16|q8_0] [prompt|decode|step] [ROWS] [LINES]
// Prints each function's own share of the samples. DIST names a page whose worker has kept its names (scripts/web.sh removes them:
// `wasm-opt -g` keeps them); PROFILE a file for the whole profile, which Chromium's developer tools open.
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
  const write = (n) => mine.write(Number(rows), n);
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
  const own = new Map(), names = new Map(profile.nodes.map(({ id, callFrame }) => [id, readable(callFrame.functionName) || "(no name)"]));
  let all = 0;
  profile.samples.forEach((id, i) => {
    const name = names.get(id), took = profile.timeDeltas[i + 1] ?? 0;
    if (["(idle)", "(program)"].includes(name)) return;
    own.set(name, (own.get(name) ?? 0) + took);
    all += took;
  });
  console.log(`flan-t5-${size}, ${type}, ${what}, ${rows} rows: ${(all / 1e6).toFixed(2)} s in samples`);
  for (const [name, took] of [...own].sort((a, b) => b[1] - a[1]).slice(0, Number(most))) {
    console.log(`${(100 * took / all).toFixed(1).padStart(5)} %  ${name}`);
  }
} finally {
  await browser.close();
  await site.close();
  await rm(folder, { recursive: true, force: true });
}

// `make bench-web`: the page's speeds in headless Chromium, on one thread and on as many as it takes, beside the command line's
// on one thread, taken in turns because a machine's pace changes by the minute; medians. Then what training does to the page's own thread, how long Stop takes,
// and what must be downloaded. It measures and says which aims are missed; nothing here fails for being slow.
// node tests/page/bench.mjs [ROUNDS]
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { dist, ISOLATED, launch, open, serve } from "./harness.mjs";
import { control, detox, files, lines, load, oneStep, patience, saveRun, until } from "./lab.mjs";
import { unpack } from "./zip.mjs";

const ROUNDS = Number(process.argv[2] ?? 5);
/** PPO steps a round and side, of 8 rows, from the same seed: both sides write the same number of rows. */
const STEPS = 4, ROWS = 8;
const SETTINGS = { batch_size: ROWS, mini_batch_size: ROWS };
/** Steps of the default run over which the page's own thread is watched. */
const WATCHED = 10;
const RATIO = 3, STEP_RATIO = 1.5, LONG = 50, STOP = 1, APP = 500e3, WORKER = 2.5e6;

const seconds = async (work) => {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
};

function median(values) {
  const sorted = values.toSorted((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Runs in the page before anything of it does: notes when recorded numbers stand there painted, and every long task. */
function watch() {
  window.bench = { useful: null, long: [] };
  new PerformanceObserver((list) => {
    window.bench.long.push(...list.getEntries().map(({ startTime, duration }) => ({ startTime, duration })));
  }).observe({ type: "longtask", buffered: true });
  const look = () => {
    const said = /step \d+ of a recorded run/.test(document.querySelector(".status")?.textContent);
    const filled = document.querySelector('[aria-label="The models"] td.num');
    if (!said || !filled) return requestAnimationFrame(look);
    // The frame that holds them is on screen when the next one begins.
    requestAnimationFrame(() => { window.bench.useful = performance.now(); });
  };
  requestAnimationFrame(look);
}

/** Milliseconds from the click on "Load the models" until they are there, by the page's own clock. */
const loading = (page) => page.getByRole("button", { name: /^Load the models/ }).first().evaluate((button) => {
  const begun = performance.now(), there = () => document.querySelector("#set-up button[disabled]")?.textContent.trim() === "Loaded";
  button.click();
  return new Promise((done) => {
    const look = () => (there() ? done(performance.now() - begun) : setTimeout(look, 20));
    look();
  });
});

/** A first visit, as a browser makes it that has never been there. */
async function visit(browser, url, hash) {
  const watched = {
    newContext: async (options) => {
      const context = await browser.newContext(options);
      await context.addInitScript(watch);
      return context;
    },
  };
  const opened = await open(watched, url, { hash, whole: false });
  await opened.page.waitForFunction(() => window.bench.useful !== null);
  return opened;
}

/** What a run folder says of its speed: seconds a step, tokens a second while it wrote. */
function pace(run) {
  const timings = lines(run.get("timings.jsonl"));
  const tokens = ({ step }) => lines(run.get(`rollouts/step-${String(step).padStart(5, "0")}.jsonl`))
    .reduce((sum, row) => sum + row.response_ids.length - 1, 0); // the first one is the start token, which is given
  const rows = lines(run.get("rollouts/step-00001.jsonl")).length;
  if (timings.length !== STEPS || rows !== ROWS) throw new Error(`${timings.length} steps of ${rows} rows were measured`);
  return {
    step: timings.map((line) => line["time/total"]),
    tokens: timings.map((line) => tokens(line) / line["time/generate"]),
  };
}

async function inTab(browser, url) {
  const query = Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`).join("&");
  const { context, page } = await visit(browser, url, `#set-up?${query}`);
  try {
    const [paint, useful] = await page.evaluate(() => [
      performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN, window.bench.useful,
    ]);
    const ready = (await loading(page)) / 1000;
    for (let step = 1; step <= STEPS; step++) await oneStep(page, step);
    return { paint: [paint / 1000], useful: [useful / 1000], ready: [ready], ...pace(unpack(await saveRun(page))) };
  } finally {
    await context.close();
  }
}

async function natively(folder, round) {
  const out = join(folder, `run-${round}`), config = join(folder, "config.json");
  await writeFile(config, JSON.stringify(SETTINGS));
  const all = await seconds(() => detox(["train", "--config", config, "--steps", String(STEPS), "--out", out]));
  const run = await files(out), measured = pace(run);
  // All but the steps: starting, and reading the same files.
  return { ready: [all - measured.step.reduce((sum, one) => sum + one, 0)], ...measured };
}

/** Trains with the default settings where the charts are in sight: long tasks meanwhile, then seconds until Stop has stopped. */
async function training(browser, url) {
  const { context, page } = await visit(browser, url, "#ppo");
  try {
    await load(page);
    await oneStep(page, 1); // what is built once is built
    const since = await page.evaluate(() => performance.now());
    await control(page, "Play").click();
    // Looked at seldom and with little: what a test does in the page is work of the page's thread too.
    const there = (step) => document.querySelector(".status").textContent.includes(`step ${step} of`);
    await page.waitForFunction(there, 1 + WATCHED, { polling: 500, timeout: (1 + WATCHED) * patience.step });
    const long = (await page.evaluate(() => window.bench.long)).filter((task) => task.startTime >= since);
    const stops = [];
    const passes = "mini-batches";
    for (const phase of ["writing responses", passes, "writing responses", passes, passes]) {
      const play = control(page, "Play");
      if (await play.isVisible()) await play.click();
      // The same words stand in more than one place.
      await page.getByText(`Training: ${phase}`, { exact: true }).first().waitFor({ timeout: patience.step });
      stops.push(await control(page, "Stop").evaluate((button) => new Promise((stopped) => {
        const begun = performance.now();
        const look = () => (button.disabled ? stopped((performance.now() - begun) / 1000) : requestAnimationFrame(look));
        button.click();
        look();
      })));
      await until(() => control(page, "Play").isVisible(), "Play, after Stop");
    }
    return { long: long.map((task) => task.duration), stops };
  } finally {
    await context.close();
  }
}

/** Bytes of the files whose names match: as they are, and gzipped as a host would send them. */
async function sizes(name) {
  const found = (await readdir(dist, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => name.test(path.slice(dist.length + 1)));
  if (found.length === 0) throw new Error(`nothing in ${dist} is called ${name}`);
  const bytes = await Promise.all(found.map((path) => readFile(path)));
  const sum = (of) => bytes.reduce((all, one) => all + of(one), 0);
  return { plain: sum((one) => one.length), gzipped: sum((one) => gzipSync(one, { level: 9 }).length) };
}

const short = (x) => (x === undefined ? "" : x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toPrecision(2));
const verdict = (kept) => (kept ? "kept" : "MISSED");

/** One line of the table; `ratio` is how many times longer the tab takes. */
function line(name, tab, native, { faster = false, aim = RATIO } = {}) {
  const span = (values) => `(${short(Math.min(...values))}–${short(Math.max(...values))})`;
  const told = (values) => (values?.length ? `${short(median(values))} ${span(values)}` : "");
  let ratio = "";
  if (native) {
    const times = faster ? median(native) / median(tab) : median(tab) / median(native);
    ratio = `${times.toFixed(2).padStart(6)}   ≤ ${aim}: ${verdict(times <= aim)}`;
  }
  console.log(`${name.padEnd(40)}${told(tab).padEnd(24)}${told(native).padEnd(24)}${ratio}`.trimEnd());
}

const folder = await mkdtemp(join(tmpdir(), "detox-lab-bench-"));
const server = await serve(dist, "/lab/", ISOLATED);
/** The page's addresses for one thread, and for as many as it takes. */
const urls = { "1 thread": `${server.url}?threads=1`, threads: server.url };
let browser;
try {
  browser = await launch();
  const tabs = Object.fromEntries(Object.keys(urls).map((name) => [name, {}])), native = {};
  const add = (all, one) => Object.entries(one).forEach(([name, values]) => (all[name] ??= []).push(...values));
  for (let round = 1; round <= ROUNDS; round++) {
    add(native, await natively(folder, round));
    for (const [name, url] of Object.entries(urls)) add(tabs[name], await inTab(browser, url));
    console.error(`round ${round} of ${ROUNDS}`);
  }
  const busy = loadavg()[0].toFixed(1);
  console.log(`Chromium ${browser.version()}, ${cpus().length} processors, load ${busy}; ${ROUNDS} rounds of ${STEPS} steps`);
  console.log(`\n${"median (least–most)".padEnd(40)}${"in a tab".padEnd(24)}${"natively, one thread".padEnd(24)} ratio   aim`);
  for (const [name, tab] of Object.entries(tabs)) {
    console.log(name);
    line("first contentful paint, s", tab.paint);
    line("recorded numbers on screen, s", tab.useful);
    line("tiny models ready, s", tab.ready, native.ready);
    line("tokens a second, writing 8 rows", tab.tokens, native.tokens, { faster: true });
    line("seconds a PPO step of 8 rows", tab.step, native.step, { aim: STEP_RATIO });
  }

  const { long, stops } = await training(browser, server.url);
  const longest = Math.max(0, ...long), slowest = Math.max(...stops);
  const tasks = `tasks over ${LONG} ms on the page's thread in ${WATCHED} steps of the default run`;
  console.log(`\n${tasks}: ${long.length}, the longest ${longest.toFixed(0)} ms   none: ${verdict(long.length === 0)}`);
  const told = `Stop, s: ${short(median(stops))}, at most ${short(slowest)} of ${stops.length} times`;
  console.log(`${told}   ≤ ${STOP}: ${verdict(slowest <= STOP)}`);

  console.log(`\n${"to download, kB".padEnd(40)}${"gzipped".padEnd(24)}as it is`);
  for (const [what, name, aim] of [
    ["page: app wasm and js", /^app-[^/]*\.(wasm|js)$/, APP],
    ["worker on one thread: wasm and js", /^worker-[^/]*\.(wasm|js)$/, WORKER],
    ["worker with relaxed SIMD: wasm and js", /^worker_relaxed-[^/]*\.(wasm|js)$/, WORKER],
    ["html, css, what starts the page", /^(index\.html|[^/]*\.css|start\.js|offline\.js)$/],
    ["recorded run", /^recorded\//],
    ["dialogues", /^dialogues\.jsonl$/],
    ["models", /^models\//],
  ]) {
    const { plain, gzipped } = await sizes(name), kB = (bytes) => (bytes / 1000).toFixed(0);
    const aimed = aim ? `≤ ${kB(aim)}: ${verdict(gzipped <= aim)}` : "";
    console.log(`${what.padEnd(40)}${kB(gzipped).padEnd(24)}${kB(plain).padEnd(24)}${aimed}`.trimEnd());
  }
} finally {
  await browser?.close();
  await server.close();
  await rm(folder, { recursive: true, force: true });
}

// The page's speeds with models of the real shapes (random weights), beside transformers.js in the same Chromium and beside the
// native program, by turns: `make bench-web`, or for a part
//     node tests/page/bench_real.mjs [small|base] [f32|f16|q8_0] [THREADS] [ROUNDS]
// Environment variables: TRANSFORMERS_JS, a folder with transformers.js and the same weights for it (without it the script says
// how to prepare them); DETOX_LAB, the native program; DIST, the page; JSON, a file for all measured numbers.
//
// Prompts have 200 tokens, responses 32 after the first one. Time of the prompt: until the first token. Tokens per second: those
// that follow. One row is a summary as chapter 2.1 writes it (greedy, adapter off). Four rows are those of a PPO step: sampled,
// with a fresh adapter, so that they do a little more than transformers.js, which writes all rows greedily. Wall seconds are what
// a person waits; processor seconds say more on a busy machine.
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { dist } from "./harness.mjs";
import { lines, native, start } from "./lab.mjs";
import { browse, models, OURS, ours, peer, PROMPT, serve, settings, THEIR, TOKENS, worker } from "./real_sides.mjs";

const [size, type, threads, rounds = "3"] = process.argv.slice(2);
const SIZES = size ? [size] : ["small", "base"], TYPES = type ? [type] : ["f32", "f16", "q8_0"];
const THREADS = threads ? [Number(threads)] : [1, 2], ROUNDS = Number(rounds), ROWS = [1, 4];
/** The number types that transformers.js has too. */
const THEIRS = { f32: "fp32", q8_0: "q8" };
/** How many times faster the page should be. */
const AIM = { prompt: 1.5, decode: 1.5, load: 2 };

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** The native program: seconds of the prompt, tokens a second, seconds of a whole step, and of everything before the first one. */
async function natively(folder, folders, file, type, threads, rows) {
  const run = async (tokens, steps) => {
    const out = join(folder, "run"), config = join(folder, "config.json"), dialogues = join(folder, "bench.jsonl");
    await rm(out, { recursive: true, force: true });
    await Promise.all([writeFile(config, JSON.stringify(settings(rows, tokens))), writeFile(dialogues, file)]);
    const began = performance.now();
    const args = ["train", "--policy", folders.policy, "--reward", folders.reward, "--data", dialogues, "--config", config, "--weights", type,
      "--threads", String(threads), "--steps", String(steps), "--out", out];
    const { code, stderr } = await start(native, args).ended;
    if (code !== 0) throw new Error(stderr);
    const all = (performance.now() - began) / 1000, timings = lines(await readFile(join(out, "timings.jsonl")));
    return { timings, before: all - timings.reduce((sum, one) => sum + one["time/total"], 0) };
  };
  // A step needs two tokens at least.
  const first = rows === 1 ? 2 : 1, short = await run(first, 2), whole = await run(first + TOKENS, 2);
  const [one, all] = [short, whole].map(({ timings }) => timings[1]["time/generate"]);
  return { prompt: one - (first - 1) * (all - one) / TOKENS, decode: rows * TOKENS / (all - one), step: whole.timings[1]["time/total"], load: whole.before };
}

const short = (x) => (x === undefined || Number.isNaN(x) ? "" : x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toPrecision(3));

/** A line of the table: medians, and how many times faster our tab is (less memory it takes): the median of the turns' ratios. */
function line(name, { tab, peer, program }, faster, aim) {
  const cell = (values) => (values?.length ? `${short(median(values))} (${short(Math.min(...values))}–${short(Math.max(...values))})` : "").padEnd(22);
  const turns = peer?.length === tab?.length && peer?.map((peer, i) => (faster ? tab[i] / peer : peer / tab[i]));
  const times = turns?.length ? median(turns) : undefined;
  const verdict = times && aim ? `≥ ${aim}: ${times >= aim ? "kept" : "MISSED"}` : "";
  console.log(`${name.padEnd(34)}${cell(tab)}${cell(peer)}${times ? `${times.toFixed(2)} ×` : ""}`.padEnd(88) + `${verdict.padEnd(15)}${cell(program)}`.trimEnd());
}

async function setting(size, type, threads, { site, mine, folders, other, theirSite, folder }) {
  const found = {}, add = (name, side, value) => ((found[name] ??= {})[side] ??= []).push(value);
  const dtype = other && THEIRS[type];
  const tokens = (rows) => Array.from({ length: rows }, (_, i) => mine.tokens()[i % 2]);
  const sides = { tab: mine.write };
  let their;
  const theirLoad = async () => {
    their = await other.open(theirSite.url);
    const seconds = await their.evaluate(([dtype, threads]) => window.load(dtype, threads), [dtype, threads]);
    return [seconds, other.tabs().processor];
  };
  if (dtype) {
    sides.peer = async (rows, n) => {
      const before = other.tabs().processor, seconds = await their.evaluate(([rows, n]) => window.write(rows, n), [tokens(rows), n]);
      return [seconds, other.tabs().processor - before];
    };
    await theirLoad(); // fills the browser's cache
  }
  await mine.load("tiny", threads);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [side, load] of [["tab", () => mine.load("tiny", threads)], ...dtype ? [["peer", theirLoad]] : []]) {
      const [seconds, processor] = await load();
      add("load", side, seconds);
      add("load, processor", side, processor);
    }
  }
  for (const rows of ROWS) {
    console.error(`bench-web: ${threads} thread${threads > 1 ? "s" : ""}, ${rows} row${rows > 1 ? "s" : ""}`);
    for (const write of Object.values(sides)) await write(rows, 4);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [side, write] of Object.entries(sides)) {
        const one = await write(rows, 1), all = await write(rows, TOKENS + 1);
        for (const [i, clock] of ["", ", processor"].entries()) {
          add(`prompt ${rows}${clock}`, side, one[i]);
          add(`decode ${rows}${clock}`, side, rows * TOKENS / (all[i] - one[i]));
        }
      }
      if (existsSync(native)) {
        const { prompt, decode, step, load } = await natively(folder, folders, mine.file(), type, threads, rows);
        add(`prompt ${rows}`, "program", prompt);
        add(`decode ${rows}`, "program", decode);
        if (rows === 4) add("step", "program", step);
        if (rows === 4) add("load with roberta", "program", load);
      }
    }
  }
  add("memory", "tab", mine.tabs().peak);
  if (dtype) add("memory", "peer", other.tabs().peak);
  await their?.close();
  add("load with roberta", "tab", (await mine.load("reward", threads))[0]);
  for (const step of (await mine.steps(ROUNDS + 1)).slice(1)) {
    for (const [stage, seconds] of Object.entries(step)) add(stage === "total" ? "step" : `step, ${stage}`, "tab", seconds);
  }
  add("memory of a step", "tab", mine.tabs().peak);

  console.log(`\nflan-t5-${size}, ${type}, ${threads} thread${threads > 1 ? "s" : ""}; ${ROUNDS} rounds, load ${loadavg()[0].toFixed(1)}`);
  console.log(`${"median (least–most)".padEnd(34)}${"in a tab".padEnd(22)}${`transformers.js ${dtype ?? ""}`.padEnd(22)}${"faster".padEnd(10)}${"aim".padEnd(15)}native program`);
  line("load, second visit, s", found.load, false, AIM.load);
  line("  in processor seconds", found["load, processor"], false, AIM.load);
  for (const rows of ROWS) {
    const many = `${rows} row${rows > 1 ? "s" : ""}`;
    line(`prompt of ${PROMPT} tokens, ${many}, s`, found[`prompt ${rows}`], false, AIM.prompt);
    line("  in processor seconds", found[`prompt ${rows}, processor`], false, AIM.prompt);
    line(`tokens a second, ${many}`, found[`decode ${rows}`], true, AIM.decode);
    line("  a processor second", found[`decode ${rows}, processor`], true, AIM.decode);
  }
  line("peak memory of the tab, MB", found.memory);
  line("load with roberta-base, s", found["load with roberta"]);
  line(`PPO step of 4 × (${PROMPT} + ${TOKENS + 1}), s`, found.step);
  for (const stage of ["generate", "score", "ppo"]) line(`  of it ${stage}`, found[`step, ${stage}`]);
  line("peak memory of the tab, MB", found["memory of a step"]);
  return { size, type, threads, found };
}

const folder = await mkdtemp(join(tmpdir(), "detox-lab-bench-"));
const results = [], closing = [];
try {
  const site = await serve(dist, OURS);
  closing.push(site);
  for (const size of SIZES) {
    const folders = await models(size), prepared = peer(size);
    const theirSite = prepared && await serve(prepared, THEIR);
    if (theirSite) closing.push(theirSite);
    for (const type of TYPES) {
      const profiles = ["ours", "theirs"].map((name) => join(folder, `${name}-${size}-${type}`));
      const browser = await browse(profiles[0]), other = prepared && await browse(profiles[1]);
      try {
        console.error(`bench-web: flan-t5-${size} in ${type}; the models are brought into the browser`);
        if (!results.length) console.log(`${await browser.version()}, ${cpus()[0].model}, ${cpus().length} processors`);
        const mine = { ...await ours(browser, site, folders, type), tabs: browser.tabs };
        for (const count of THREADS) {
          if (!await worker(count)) console.log(`\nflan-t5-${size}, ${type}: this page has no worker with ${count} threads`);
          else results.push(await setting(size, type, count, { site, mine, folders, other, theirSite, folder }));
        }
      } catch (error) { // such as a tab that has too little memory: the other parts can be measured all the same
        console.log(`\nflan-t5-${size}, ${type}: not measured to the end. ${error.message}`);
        process.exitCode = 1;
      } finally {
        await browser.close();
        await other?.close();
        for (const profile of profiles) await rm(profile, { recursive: true, force: true });
      }
    }
  }
} finally {
  for (const one of closing) await one.close();
  if (process.env.JSON) writeFileSync(process.env.JSON, JSON.stringify(results, null, 1));
  await rm(folder, { recursive: true, force: true });
}

// The same seed gives the same run in a tab and natively, and a run may change from one to the other at any step. One page
// is loaded for all of it, so the tests follow each other. That files are refused when bad is others' to test.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { launch, open, serve } from "./harness.mjs";
import {
  chapter, compare, compared, detox, files, load, native, oneStep, patience, saveRun, stands, start, until,
} from "./lab.mjs";
import { metricsOf, RELATIVE, ROUNDING, same, sameSteps } from "./same.mjs";
import { pack, unpack } from "./zip.mjs";

/** Any seed will do; this one was chosen before anything was measured. */
const SEED = Number(process.env.PARITY_SEED ?? 7);

let folder, server, browser, page, wrong, zip, saved;
/** A native run folder's lines so far; none before it has any. */
const written = (path) => {
  try {
    return readFileSync(join(path, "metrics.jsonl"), "utf8").split("\n").length - 1;
  } catch {
    return 0;
  }
};

/** Interrupts a native run once so many steps are written, and gives its files. */
async function interrupted(run, path, steps) {
  let over = false;
  run.ended.then(() => { over = true; });
  await until(() => over || written(path) >= steps, `step ${steps} natively`);
  run.interrupt();
  const { code, stderr } = await run.ended;
  assert.equal(code, 130, `a run that Ctrl-C ends says so:\n${stderr}`);
  return files(path);
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "detox-lab-parity-"));
  // As it is called on a person's machine.
  await mkdir(join(folder, "bin"));
  await symlink(native, join(folder, "bin/detox-lab"));
  server = await serve();
  browser = await launch();
  ({ page, wrong } = await open(browser, server.url, { hash: `#take?seed=${SEED}` }));
});

after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

test("three PPO steps in the tab are those of the command line", async (t) => {
  const out = join(folder, "twin");
  await detox(["train", "--seed", SEED, "--steps", 3, "--out", out].map(String));
  await load(page);
  for (const step of [1, 2, 3]) await oneStep(page, step);
  zip = await saveRun(page);
  saved = unpack(zip);
  const twin = await files(out);
  const settings = (run) => JSON.parse(run.get("config.json")).ppo;
  assert.deepEqual(settings(saved), settings(twin), "the same settings");
  assert.equal(settings(saved).seed, SEED);
  sameSteps(t, saved, twin, 1, 3);
});

test("the command line evaluates the saved run, to the numbers that the page gives", async () => {
  const here = join(folder, "evaluate");
  await mkdir(here);
  await writeFile(join(here, "run.zip"), zip);
  const { stdout } = await detox(["evaluate", "--run", "run.zip", "-n", "4", "--json"], { cwd: here });
  const there = JSON.parse(stdout);
  await compare(page, 4, SEED);
  const told = {
    "toxicity, mean": (side) => side.toxicity.mean, "score, mean": (side) => side.score.mean, "ROUGE-1": (side) => side.rouge1,
  };
  for (const [name, of] of Object.entries(told)) {
    const shown = await compared(page, name);
    for (const [k, side] of [there.before, there.after].entries()) {
      const expected = of(side);
      const off = Math.abs(shown[k] - expected) - 0.5e-4; // the page shows four decimals
      assert.ok(off <= Math.max(RELATIVE * Math.abs(expected), ROUNDING), `${name}: ${shown[k]} in the tab, ${expected} natively`);
    }
  }
});

test("the command that the page shows continues the saved run natively, as the tab would", async (t) => {
  const here = join(folder, "continue");
  await mkdir(here);
  await writeFile(join(here, "run.zip"), zip);
  const command = await chapter(page, "Take it with you").getByText(/^detox-lab train /).innerText();
  t.diagnostic(command);
  assert.match(command, /^detox-lab train --resume run\.zip\b/, "it names the file that was saved");
  const env = { ...process.env, PATH: join(folder, "bin") + delimiter + process.env.PATH };
  // exec: Ctrl-C ends the run, not a shell around it.
  const going = start("sh", ["-c", `exec ${command}`], { cwd: here, env });
  const [run] = await Promise.all([interrupted(going, join(here, "run"), 4), oneStep(page, 4)]);
  sameSteps(t, unpack(await saveRun(page)), run, 4, 4);
  same(metricsOf(run).slice(0, 3), metricsOf(saved), "what the tab had done, after the command line went on");
});

test("a run folder made natively and zipped opens in the tab and goes on there", async (t) => {
  const out = join(folder, "mine");
  const running = start(native, ["train", "--seed", String(SEED + 1), "--out", out, "--threads", "1"]);
  const made = await interrupted(running, out, 2);
  const done = metricsOf(made).length, last = done + 1;
  // As `zip -r` packs it: with the folder's own name, and the lock that lies in it.
  const packed = pack(new Map([...made].map(([name, bytes]) => [`mine/${name}`, bytes])));
  const take = chapter(page, "Take it with you");
  await take.getByLabel("A zip file").setInputFiles({ name: "mine.zip", mimeType: "application/zip", buffer: packed });
  await take.getByText("mine.zip is open", { exact: true }).waitFor({ timeout: patience.load });
  await stands(page, done);
  await oneStep(page, last);
  const run = unpack(await saveRun(page));
  await detox(["train", "--resume", out, "--steps", String(last)]);
  sameSteps(t, run, await files(out), last, last);
  same(metricsOf(run).slice(0, done), metricsOf(made), "what was done natively, after the tab went on");
});

test("nothing went wrong in the page meanwhile", () => assert.deepEqual(wrong, []));

// The engine on several threads: where the browser allows them, it uses them; the numbers are those of one thread, to the last
// bit, except with relaxed SIMD, which rounds less often; where they cannot be had, one thread does the work.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dist, ISOLATED, serve } from "./harness.mjs";
import { alerts, idle, load, save, shared, step, visit } from "./person.mjs";
import { chapter, lines, until } from "./lab.mjs";
import { sameSteps } from "./same.mjs";
import { unpack } from "./zip.mjs";

const site = shared({ flaky: true, ready: async () => ({ isolated: await serve(dist, "/isolated/", ISOLATED) }) });

/** The run on one thread. */
let one;

/** How many threads the page's engine has. */
const threads = (page) => until(async () => {
  const engine = page.workers().find((worker) => worker.url().includes("worker_start"));
  return engine?.evaluate(() => globalThis.threads?.count());
}, "the engine");

/** What differs in every run: when it was made. */
const OF_TIME = /^(timings\.jsonl|events\.out\.tfevents\..*)$/;

/** Two steps of the default run, loaded anew: its files. */
async function twoSteps(t, query) {
  const { page, wrong } = await visit(t, site, { url: `${site.isolated.url}${query}`, hash: "#ppo?seed=11&batch_size=16&mini_batch_size=8" });
  await load(page);
  await step(page);
  await step(page);
  const files = unpack((await save(page, "Save the run")).bytes);
  assert.deepEqual(wrong, []);
  const kernels = lines(files.get("timings.jsonl")).map((line) => line.kernel);
  return { page, used: await threads(page), kernels, files };
}

test("two and three threads give the run that one thread gives, byte for byte", async (t) => {
  one = await twoSteps(t, "?threads=1");
  assert.equal(one.used, 1);
  const names = (files) => [...files.keys()].filter((name) => !OF_TIME.test(name));
  assert.ok(names(one.files).length > 5, names(one.files).join(" "));
  for (const count of [2, 3]) {
    const { used, kernels, files } = await twoSteps(t, `?threads=${count}&relaxed=no`);
    assert.equal(used, count);
    assert.deepEqual(kernels, ["simd128", "simd128"]);
    assert.deepEqual(names(files), names(one.files));
    for (const name of names(files)) assert.ok(files.get(name).equals(one.files.get(name)), `${name} on ${count} threads`);
  }
});

test("relaxed SIMD gives the same tokens and, within the tolerance, the same numbers; page and run say so", async (t) => {
  t.after(() => site.isolated.close());
  const { page, used, kernels, files } = await twoSteps(t, "?threads=2");
  assert.equal(used, 2);
  assert.deepEqual(kernels, ["relaxed-simd128", "relaxed-simd128"]);
  sameSteps(t, files, one.files, 1, 2);
  const weights = [...files.keys()].find((name) => name.endsWith("adapter_model.safetensors") && name.includes("step-00002"));
  assert.ok(!files.get(weights).equals(one.files.get(weights)), "the kernel is another one");
  await chapter(page, "Set up").getByText(/^relaxed SIMD; /).waitFor();
});

test("on a host without headers, the second visit uses threads", async (t) => {
  const { page, wrong } = await visit(t, site, { url: `${site.url}?threads=2` });
  assert.equal(await threads(page), 1);
  await page.getByText(/^the page works offline/).waitFor();
  await page.reload();
  await page.locator("main#text").waitFor();
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  assert.equal(await threads(page), 2);
  await load(page);
  await step(page);
  await idle(page);
  assert.deepEqual(await alerts(page), []);
  assert.deepEqual(wrong, []);
});

test("if the program for threads cannot be had, one thread does the work", async (t) => {
  const { page } = await visit(t, site, { url: `${site.url}?threads=2` });
  await page.getByText(/^the page works offline/).waitFor();
  site.rule.of = (path) => (path.includes("worker_relaxed") ? { status: 404 } : undefined);
  await page.reload();
  await page.locator("main#text").waitFor();
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  assert.equal(await threads(page), 1);
  await load(page);
  await step(page);
  assert.deepEqual(await alerts(page), []);
});

// The engine on several threads: where the browser allows them, it uses them; the numbers are those of one thread, to the last
// bit; where they cannot be had, one thread does the work.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dist, ISOLATED, serve } from "./harness.mjs";
import { alerts, idle, load, runFiles, shared, step, visit } from "./person.mjs";
import { until } from "./lab.mjs";

const site = shared({ flaky: true, ready: async () => ({ isolated: await serve(dist, "/isolated/", ISOLATED) }) });

/** How many threads the page's engine has. */
const threads = (page) => until(async () => {
  const engine = page.workers().find((worker) => worker.url().includes("worker_start"));
  return engine?.evaluate(() => globalThis.threads?.count());
}, "the engine");

/** Two steps of the default run, loaded anew: its files without the times. */
async function twoSteps(t, query) {
  const { page, wrong } = await visit(t, site, { url: `${site.isolated.url}${query}`, hash: "#ppo?seed=11&batch_size=16&mini_batch_size=8" });
  await load(page);
  await step(page);
  await step(page);
  const files = await runFiles(page);
  assert.deepEqual(wrong, []);
  return { used: await threads(page), files: new Map([...files].filter(([name]) => name !== "timings.jsonl")) };
}

test("two and three threads give the run that one thread gives, byte for byte", async (t) => {
  t.after(() => site.isolated.close());
  const one = await twoSteps(t, "?threads=1");
  assert.equal(one.used, 1);
  assert.ok(one.files.size > 5, [...one.files.keys()].join(" "));
  for (const count of [2, 3]) {
    const { used, files } = await twoSteps(t, `?threads=${count}`);
    assert.equal(used, count);
    assert.deepEqual([...files.keys()], [...one.files.keys()]);
    for (const [name, bytes] of files) assert.ok(bytes.equals(one.files.get(name)), `${name} on ${count} threads`);
  }
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
  site.rule.of = (path) => (path.includes("worker_threads") ? { status: 404 } : undefined);
  await page.reload();
  await page.locator("main#text").waitFor();
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  assert.equal(await threads(page), 1);
  await load(page);
  await step(page);
  assert.deepEqual(await alerts(page), []);
});

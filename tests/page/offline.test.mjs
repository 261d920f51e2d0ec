// Without a network: what is loaded goes on working, and after one visit the page opens again, with the recorded run and the
// models that were loaded. Faults of a network that is there are faults.test.mjs's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chapters } from "./harness.mjs";
import { alerts, closeNotices, idle, kept, line, load, runFiles, shared, step, steps, table, visit } from "./person.mjs";

const site = shared({ flaky: true });

/** Off: the browser says so, and the server answers nobody, a service worker neither. */
async function network(context, on) {
  site.rule.of = () => (on ? undefined : { down: true });
  await context.setOffline(!on);
}

const keptOffline = (page) => page.getByText(/^the page works offline; the models too, once they have been loaded$/).waitFor();
const noNetwork = (page) => page.getByRole("status").filter({ hasText: "No network." });

test("what is loaded goes on working when the network goes, and opens again without it", async (t) => {
  const { page, context, wrong } = await visit(t, site, { hash: "#ppo?seed=7" });
  await load(page); // at once, before anything was kept
  await keptOffline(page);
  await network(context, false);
  await step(page);
  await page.getByRole("button", { name: "Score it", exact: true }).click();
  await idle(page);
  assert.equal(await noNetwork(page).count(), 0, "who has all that is needed is not told of a network");
  const [rows, run] = [await table(page), await runFiles(page)];
  assert.deepEqual(wrong, []);

  await page.reload();
  await noNetwork(page).waitFor();
  assert.equal((await chapters(page)).filter((id) => id !== "stages").length, 11);
  await page.getByRole("listbox", { name: /^Tokens of the response/ }).getByRole("option").first().waitFor();
  assert.match(await line(page).innerText(), /recorded\s+step \d+ of a recorded run/);
  assert.match(await kept(page).innerText(), /step 1 of/);
  await page.getByRole("button", { name: "Remove it", exact: true }).click();
  await kept(page).waitFor({ state: "detached" });
  await load(page);
  await step(page);
  assert.deepEqual(await table(page), rows, "the same seed gives the same numbers without a network");
  assert.deepEqual([...(await runFiles(page)).keys()], [...run.keys()]);
  assert.deepEqual(await alerts(page), []);
});

test("a page that was only looked at opens without a network; models that were never loaded are told of", async (t) => {
  const { page, context } = await visit(t, site);
  await keptOffline(page);
  await network(context, false);
  const again = await context.newPage();
  await page.close();
  await again.goto(`${site.url}#reward`);
  await again.getByRole("heading", { name: /Reward model$/ }).waitFor();
  await noNetwork(again).waitFor();
  await line(again).getByRole("button", { name: /^Load the models/ }).click();
  await again.getByRole("alert").waitFor();
  const [{ what, hint }] = await alerts(again);
  assert.match(what, /models\/policy\//);
  assert.match(hint, /connection.*again/);
  await closeNotices(again);

  await network(context, true);
  await noNetwork(again).waitFor({ state: "detached" });
  await load(again);
  await step(again);
  assert.equal(await steps(again), 1);
});

// Nothing that was trained is lost: by a reload in the middle of a step, by a second tab, by leaving for another browser
// with a zip. Bad files, lost workers and models that do not come are faults.test.mjs's.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  PATIENCE, alerts, at, choose, differing, idle, inTheMiddle, kept, line, press, runFiles, save, shared, step, steps, visit,
} from "./person.mjs";
import { unpack } from "./zip.mjs";

const site = shared();

const goOn = async (page, n) => {
  await page.getByRole("button", { name: "Continue it", exact: true }).click();
  await at(page, n);
};

test("a reload in the middle of a step loses only that step, and the run goes on with the same numbers", async (t) => {
  const { page, context, wrong } = await visit(t, site, { hash: "#ppo?seed=7" });
  await step(page);
  await press(page, "Step");
  await inTheMiddle(page);
  const asked = [];
  context.on("request", (request) => asked.push(request.url()));
  await page.reload();

  assert.match(await kept(page).innerText(), /step 1 of \d+/);
  assert.deepEqual(asked.filter((url) => url.includes("/models/")), [], "the models come when they are asked for");
  await press(page, "Step");
  await page.getByText("This browser has a saved run, which a new one would replace").waitFor();
  assert.equal(await steps(page), 0, "nothing is begun while the kept run waits for an answer");
  await goOn(page, 1);
  assert.equal(await kept(page).count(), 0, "an offer that was taken goes");
  await step(page);
  const broken = await runFiles(page);

  const other = await visit(t, site, { hash: "#ppo?seed=7" });
  await step(other.page);
  await step(other.page);
  const whole = await runFiles(other.page);
  assert.equal(broken.get("metrics.jsonl").toString(), whole.get("metrics.jsonl").toString());
  assert.equal(whole.get("metrics.jsonl").toString().trim().split("\n").length, 2);
  assert.deepEqual(differing(broken, whole), [], "weights, optimizer state, samples and rollouts are the same too");
  assert.deepEqual([...wrong, ...other.wrong], []);
});

test("a reload while playing is offered too; one button clears what is kept, for good", async (t) => {
  const { page, wrong } = await visit(t, site);
  await press(page, "Play");
  await line(page).getByText(/^step 1 of/).waitFor({ timeout: PATIENCE });
  await inTheMiddle(page);
  await page.reload();
  const offered = Number(/step (\d+)/.exec(await kept(page).innerText())[1]);
  assert.ok(offered >= 1, `step ${offered}`);

  await page.getByRole("button", { name: "Remove it", exact: true }).click();
  await kept(page).waitFor({ state: "detached" });
  await page.reload();
  await listening(page);
  assert.equal(await kept(page).count(), 0);

  // The last chapter has the same for a run that goes on: what is made from then on is kept again.
  await step(page);
  await page.getByRole("button", { name: "Remove the saved run", exact: true }).click();
  await idle(page);
  assert.equal(await steps(page), 1, "the run in hand is not what was kept");
  await step(page);
  await page.reload();
  await listening(page);
  assert.match(await kept(page).innerText(), /step 2 of \d+/, "a step that was made after clearing is kept as every step");
  await goOn(page, 2);
  assert.deepEqual(wrong, []);
});

/** Waits until the worker has said what it kept, which it does before it does anything else. */
async function listening(page) {
  await line(page).getByText("The worker is starting…").waitFor({ state: "detached" });
}

test("two tabs at once: what is kept is always the whole of one tab's run, never a mixture", async (t) => {
  const one = await visit(t, site, { hash: "#ppo?seed=1" });
  await step(one.page);
  const two = { page: await one.context.newPage() };
  await two.page.goto(`${site.url}#ppo?seed=2`);
  assert.match(await kept(two.page).innerText(), /step 1 of/, "the second tab is offered what the first has kept");
  await two.page.getByRole("button", { name: "Remove it", exact: true }).click();
  await kept(two.page).waitFor({ state: "detached" });
  await step(two.page);
  await step(one.page);

  const runs = [await runFiles(one.page), await runFiles(two.page)];
  const seeds = runs.map((files) => JSON.parse(files.get("config.json")).ppo.seed);
  assert.deepEqual(seeds, [1, 2], "both tabs still have their own run");
  assert.deepEqual(await Promise.all([steps(one.page), steps(two.page)]), [2, 1]);

  await two.page.close();
  await one.page.reload();
  await listening(one.page);
  const offer = await kept(one.page).innerText();
  await goOn(one.page, Number(/step (\d+)/.exec(offer)[1]));
  const found = await runFiles(one.page);
  const seed = JSON.parse(found.get("config.json")).ppo.seed;
  assert.deepEqual(differing(found, runs[seeds.indexOf(seed)]), [], `offered was "${offer}" with seed ${seed}`);
  assert.deepEqual(one.wrong, []);
});

test("run and adapter open again in another browser: the run goes on, the next run starts from the adapter", async (t) => {
  const here = await visit(t, site, { hash: "#take?seed=3" });
  await step(here.page);
  const [zip, adapter] = [await save(here.page, "Save the run"), await save(here.page, "Save the adapter")];
  await step(here.page);
  const whole = await runFiles(here.page);

  const there = await visit(t, site, { hash: "#take" });
  await choose(there.page, zip.name, zip.bytes);
  await there.page.getByText(`${zip.name} is open`, { exact: true }).waitFor();
  assert.equal(await steps(there.page), 1);
  assert.match(there.page.url(), /seed=3/, "the run brings its own settings");
  await step(there.page);
  assert.deepEqual(differing(await runFiles(there.page), whole), [], "it goes on as it would have where it came from");

  await choose(there.page, adapter.name, adapter.bytes);
  const r = JSON.parse(unpack(adapter.bytes).get("adapter_config.json")).r;
  await there.page.getByText(new RegExp(`^${adapter.name} is open \\(r ${r}, .*the next run starts from it`)).waitFor();
  await press(there.page, "Step");
  await idle(there.page);
  assert.deepEqual([await alerts(there.page), await steps(there.page)], [[], 1], "the next step begins that run");
  const begun = await runFiles(there.page);
  const weights = unpack(adapter.bytes).get("adapter_model.safetensors");
  const [name] = [...begun.keys()].filter((file) => file.endsWith("step-00000/adapter_model.safetensors"));
  assert.ok(begun.get(name).equals(weights), "step 0 of the new run is the adapter that was opened");
  assert.deepEqual(there.wrong, []);
});

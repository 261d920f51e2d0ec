// What the page says is true and where one looks: errors and offers in view, refused settings marked and in nobody's way,
// links that say what they set, the numbers of a continued run, a run that diverges. Faults of files are faults.test.mjs's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENCE, alerts, bar, closeNotices, idle, kept, line, load, press, shared, step, visit } from "./person.mjs";
import { eventually } from "./story.mjs";

const site = shared();
const SMALL = "batch_size=4&mini_batch_size=4&output_min_length=8&output_max_length=9";
const chapter = (page, name) => page.getByRole("region", { name });
const hash = (page) => page.evaluate(() => location.hash);

/** Whether one sees it where the page is scrolled to. */
const inView = (element) => element.evaluate((one) => {
  const { top, bottom, left, right } = one.getBoundingClientRect();
  const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  return top >= 0 && bottom <= innerHeight && one.contains(over);
});

for (const [width, height] of [[1440, 900], [360, 740]]) {
  test(`${width} px: an error is seen where the button was pressed, and no other text's result stays below it`, async (t) => {
    const { page } = await visit(t, site, { hash: "#reward", width, height });
    const reward = chapter(page, /Reward model$/);
    await reward.locator(".score-text").waitFor();
    const long = "Xyzzq qwrtz! ".repeat(110);
    await reward.getByLabel("Text to be scored").fill(long);
    await reward.getByRole("button", { name: "Score it", exact: true }).click();
    const alert = page.getByRole("alert");
    await alert.waitFor({ timeout: PATIENCE });
    await idle(page);
    assert.ok(await inView(alert), "the notice");
    assert.match(await reward.locator(".try .setting-error").innerText(), /\d+ .*at most \d+/, "and below the button");
    assert.equal(await reward.locator(".score-text").count(), 0, "the recorded sentence's result has gone");

    await closeNotices(page);
    await reward.getByLabel("Text to be scored").fill("Tom likes the garden.");
    await reward.getByRole("button", { name: "Score it", exact: true }).click();
    await reward.locator(".score-text", { hasText: "Tom likes the garden." }).waitFor({ timeout: PATIENCE });
    assert.equal(await reward.locator(".try .setting-error").count(), 0, "what is mended is not told any longer");
  });
}

test("a refused setting stays marked, blocks no other, and every kind of reset clears it", async (t) => {
  const { page } = await visit(t, site, { hash: "#trainer" });
  const trainer = chapter(page, /Trainer$/);
  await trainer.locator("details").evaluateAll((all) => all.forEach((one) => { one.open = true; }));
  const field = (name) => trainer.getByLabel(new RegExp(`^${name}\\b`));
  const type = async (name, text) => {
    await field(name).fill(text);
    await field(name).press("Tab");
  };
  const refuse = async () => {
    await type("mini_batch_size", "0");
    await trainer.getByText(/mini_batch_size = 0/).waitFor();
  };
  const cleared = async (how) => {
    await eventually(`${how}: not marked`, () => field("mini_batch_size").getAttribute("aria-invalid"), (is) => is === null);
    assert.notEqual(await field("mini_batch_size").inputValue(), "0", how);
  };
  await page.getByText(/of a recorded run$/).waitFor();
  await refuse();
  await type("kl_coef", "0.5");
  await eventually("kl_coef is in force", () => hash(page), (text) => text.includes("kl_coef=0.5"));
  assert.equal(await field("kl_coef").getAttribute("aria-invalid"), null);
  assert.equal(await field("mini_batch_size").getAttribute("aria-invalid"), "true", "what is refused stays marked");
  assert.doesNotMatch(await hash(page), /mini_batch/);

  await trainer.getByRole("button", { name: "Back to the defaults", exact: true }).click();
  await cleared("Back to the defaults");
  await refuse();
  await trainer.getByRole("button", { name: "Reset all", exact: true }).click();
  await cleared("Reset all");
  await refuse();
  await page.evaluate(() => { location.hash = "#trainer?gamma=0.9"; });
  await cleared("a link");
  assert.equal(await field("gamma").inputValue(), "0.9");
});

test("a link's settings are said on arrival, and those that cannot be are reported and marked at once", async (t) => {
  const { page } = await visit(t, site, { hash: "#ppo?seed=123&kl_coef=0.4" });
  await line(page).getByRole("button", { name: "Next run with seed 123, kl_coef 0.4", exact: true }).waitFor();
  assert.deepEqual(await alerts(page), []);

  const bad = await visit(t, site, { hash: "#ppo?kl_coef=much" });
  await bad.page.getByRole("alert").waitFor();
  const [told] = await alerts(bad.page);
  assert.match(told.what, /\bkl_coef\b.*much/);
  assert.ok(await inView(bad.page.getByRole("alert")));
  const field = chapter(bad.page, /Trainer$/).getByLabel(/^kl_coef/);
  assert.deepEqual([await field.inputValue(), await field.getAttribute("aria-invalid")], ["much", "true"]);
});

test("a saved run is offered in view; once continued, every number is its own; in a second tab it is a copy", async (t) => {
  const { page, context, wrong } = await visit(t, site, { hash: `#ppo?seed=7&${SMALL}` });
  await step(page);
  const ppo = chapter(page, "3.2 PPO");
  const numbers = () => ppo.locator(".term-now").allInnerTexts();
  const lived = await numbers();
  await page.reload();
  await kept(page).waitFor();
  assert.ok(await inView(kept(page)), "at the chapter that one reads");
  assert.notDeepEqual(await numbers(), lived, "the recorded run's");
  await page.getByRole("button", { name: "Continue it", exact: true }).click();
  await line(page).getByText(/^step 1 of/).waitFor({ timeout: PATIENCE });
  await idle(page);
  assert.deepEqual(await numbers(), lived);
  assert.deepEqual([...new Set(await ppo.locator(".source").allInnerTexts())], ["live"], "nothing recorded beside it");
  assert.equal(await ppo.getByRole("slider", { name: "Mean score, by step" }).getAttribute("aria-valuemax"), "1");
  await ppo.getByText("The tokens of this run are shown after its next step").waitFor();

  const second = await context.newPage();
  await second.goto(`${site.url}#ppo`);
  await kept(second).waitFor();
  await second.getByText(/A run is open in another tab/).waitFor();
  await second.getByRole("button", { name: "Continue a copy", exact: true }).waitFor();
  await second.close();

  await step(page);
  await ppo.getByRole("listbox", { name: /^Tokens of the response/ }).first().waitFor();
  assert.deepEqual(wrong, []);
});

test("a seed of 64 bits is the same after the run was saved and continued", async (t) => {
  const seed = "18446744073709551615";
  const { page } = await visit(t, site, { hash: `#ppo?seed=${seed}&${SMALL}` });
  await step(page);
  await page.reload();
  await page.getByRole("button", { name: "Continue it", exact: true }).click();
  await line(page).getByText(/^step 1 of/).waitFor({ timeout: PATIENCE });
  await idle(page);
  assert.match(await hash(page), new RegExp(`seed=${seed}&`));
  await line(page).getByRole("button", { name: new RegExp(`^With seed ${seed},`) }).waitFor();
});

test("a run without a step is not offered and blocks nothing", async (t) => {
  const { page } = await visit(t, site, { hash: `#ppo?${SMALL}` });
  await press(page, "Stage");
  await line(page).getByText(/^Paused at stage/).waitFor({ timeout: PATIENCE });
  await page.reload();
  await line(page).getByText("The worker is starting…").waitFor({ state: "detached" });
  assert.equal(await kept(page).count(), 0);
  await step(page);
  assert.deepEqual(await alerts(page), []);
});

test("a run that diverges is named once, with what to try", async (t) => {
  const { page } = await visit(t, site, { hash: `#ppo?learning_rate=1000&${SMALL}` });
  await load(page);
  const alert = page.getByRole("alert");
  for (let n = 1; n <= 3; n += 1) await step(page);
  await alert.waitFor();
  const all = await alerts(page);
  assert.equal(all.length, 1, JSON.stringify(all));
  assert.match(all[0].what, /The run diverges at step \d+: (the loss is|the policy is [\d.,]+ nats)/);
  assert.match(all[0].hint, /learning_rate/);
  assert.ok(await bar(page).getByRole("button", { name: "Step", exact: true }).isEnabled());
});

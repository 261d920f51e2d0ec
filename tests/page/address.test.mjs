// A link is a lesson: the address holds chapter, seed, preset, settings, row and quantity, and the same link gives the same
// numbers elsewhere. Links that make no sense break nothing. The keyboard is keyboard.test.mjs's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chapters } from "./harness.mjs";
import { PATIENCE, alerts, at, bar, closeNotices, idle, load, shared, step, table, visit } from "./person.mjs";
import { recorded } from "./story.mjs";

const site = shared();
const { steps: recordedSteps } = recorded(), middle = recordedSteps[recordedSteps.length >> 1];

const trainer = (page) => page.getByRole("region", { name: /Trainer$/ });
const rail = (page) => page.getByRole("navigation", { name: "Chapters", exact: true });
const startOver = (page) => trainer(page).getByRole("button", { name: /^(Start over|Press again)/ });

/** Every setting by name, and the preset, as chapter 3.1 shows them. */
const settings = (page) => trainer(page).evaluate((section) => {
  const value = (input) => (input.type === "checkbox" ? input.checked : input.value);
  const all = [...section.querySelectorAll(".setting")].map((one) => [
    one.querySelector("label code").textContent, value(one.querySelector("input, select")),
  ]);
  return { preset: section.querySelector('[type="radio"]:checked').closest("label").innerText, ...Object.fromEntries(all) };
});

/** Which chapter's heading one sees, and which one the rail says it is. */
async function reading(page, title) {
  const heading = page.getByRole("heading", { level: 2, name: title });
  await heading.waitFor();
  await page.waitForFunction((heading) => {
    const { top, bottom } = heading.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  }, await heading.elementHandle());
  await rail(page).locator('[aria-current="location"]', { hasText: title }).waitFor();
}

test("a link opens elsewhere with the same chapter, settings and row, and one step gives the same numbers", async (t) => {
  const here = await visit(t, site, { whole: false });
  await here.page.getByRole("listbox", { name: /^Responses of the batch/ }).waitFor();
  await bar(here.page).getByText("More", { exact: true }).click();
  await bar(here.page).getByRole("combobox", { name: /^Preset/ }).selectOption("As published");
  await bar(here.page).getByRole("spinbutton", { name: "Seed" }).fill("7");
  await bar(here.page).getByRole("spinbutton", { name: "Seed" }).press("Enter");
  await trainer(here.page).getByLabel(/^kl_coef/).fill("0.05");
  await trainer(here.page).getByLabel(/^kl_coef/).press("Enter");
  await trainer(here.page).getByLabel(/^kl_estimator/).selectOption("k3");
  await here.page.getByRole("radio", { name: "KL", exact: true }).check();
  // Any response but the batch's first row, which an address leaves out.
  const { scored } = middle;
  const place = scored.filter((row) => row.score > scored[0].score).length > 2 ? 2 : scored.length - 1;
  const other = here.page.getByRole("listbox", { name: /^Responses of the batch/ }).getByRole("option").nth(place);
  await other.click();
  const chosen = await other.innerText();
  await rail(here.page).getByRole("link", { name: /PPO$/ }).click();
  await reading(here.page, /PPO$/);
  await here.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await trainer(here.page).getByRole("button", { name: "Copy the link", exact: true }).click();
  const copied = await here.page.evaluate(() => navigator.clipboard.readText());
  await rail(here.page).getByRole("link", { name: /PPO$/ }).click();
  const link = here.page.url();
  const hash = new URL(link).hash;
  assert.match(hash, /^#ppo\?(?=.*\bseed=7\b)(?=.*\bpreset=published\b)(?=.*\bkl_coef=0\.05\b)(?=.*\bkl_estimator=k3\b)/);
  assert.match(hash, /\brow=\d+\b.*\bshow=kl\b/);
  assert.equal(new URL(copied).hash.split("?")[1], hash.split("?")[1], "what is copied holds the same settings");

  const there = await visit(t, site, { url: link, whole: false });
  await reading(there.page, /PPO$/);
  await there.page.getByRole("listbox", { name: /^Responses of the batch/ }).waitFor();
  assert.deepEqual(await settings(there.page), await settings(here.page));
  const row = there.page.getByRole("listbox", { name: /^Responses of the batch/ }).getByRole("option", { selected: true });
  assert.equal(await row.innerText(), chosen);
  assert.ok(await there.page.getByRole("radio", { name: "KL", exact: true }).isChecked());
  assert.equal(there.page.url(), link, "opening a link does not change it");

  await step(here.page);
  await step(there.page);
  const [a, b] = [await table(here.page), await table(there.page)];
  assert.equal(a.length, 2, "the head, and one step");
  assert.deepEqual(b, a);

  await there.page.evaluate(() => { location.hash = location.hash.replace("seed=7", "seed=8"); });
  await startOver(there.page).click();
  await startOver(there.page).click(); // it asks once more, since a step is lost
  await at(there.page, 0);
  await step(there.page);
  assert.notDeepEqual(await table(there.page), a, "another seed gives other numbers");
  assert.deepEqual([...here.wrong, ...there.wrong], []);
});

test("the rail names the chapter that a link opened, however slowly the page got there", async (t) => {
  const context = await site.browser.newContext();
  t.after(() => context.close());
  context.setDefaultTimeout(PATIENCE);
  for (const [rate, hash, title] of [[1, "#ppo?seed=7", /PPO$/], [3, "#reward", /Reward model$/]]) {
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    await devtools.send("Emulation.setCPUThrottlingRate", { rate });
    await page.goto(site.url + hash);
    await page.locator("html[data-settled]").waitFor({ state: "attached" });
    await reading(page, title);
    assert.equal(new URL(page.url()).hash, hash);
    await page.close();
  }
});

test("back and forward lead through the chapters that were chosen", async (t) => {
  const { page, wrong } = await visit(t, site, { whole: false, hash: "#policy" });
  await reading(page, /Data and policy$/);
  for (const chapter of [/Reward model$/, /PPO$/, /Take it with you$/]) {
    await rail(page).getByRole("link", { name: chapter }).click();
    await reading(page, chapter);
  }
  assert.match(page.url(), /#take$/);
  for (const [go, chapter, slug] of [
    ["goBack", /PPO$/, "ppo"], ["goBack", /Reward model$/, "reward"], ["goForward", /PPO$/, "ppo"],
    ["goBack", /Reward model$/, "reward"], ["goBack", /Data and policy$/, "policy"],
  ]) {
    await page[go]();
    await reading(page, chapter);
    assert.equal(new URL(page.url()).hash, `#${slug}`, go);
  }
  // However soon the next one is chosen, the history holds what was chosen, not what was passed on the way.
  for (const patience of [0, 100, 400]) {
    for (const chapter of [/PPO$/, /Set up$/, /Take it with you$/]) {
      await rail(page).getByRole("link", { name: chapter }).click();
      await page.waitForTimeout(patience);
    }
    await page.goBack();
    await reading(page, /Set up$/);
    await page.goBack();
    await reading(page, /PPO$/);
    assert.equal(new URL(page.url()).hash, "#ppo");
  }
  assert.deepEqual(wrong, []);
});

test("a link that makes no sense opens the page all the same", async (t) => {
  const context = await site.browser.newContext();
  t.after(() => context.close());
  context.setDefaultTimeout(PATIENCE);
  for (const hash of [
    "#nowhere?seed=abc&preset=other&row=0&show=beauty", "#ppo?&&=&=1&seed&seed=-1&row=100000", "#?seed=99999999999999999999999",
    "#ppo?%ZZ=%E0%A4&kl_coef=%FF&row=-3", "#trainer?kl_coef=much&gamma=2&mini_batch_size=7&use_score_norm=&colour=blue",
    `#ppo?__proto__=1&constructor=2&${"x=1&".repeat(5000)}`, "#<b>bold</b>?seed=<img src=x>",
  ]) {
    const page = await context.newPage();
    const wrong = [];
    page.on("pageerror", (error) => wrong.push(error.message));
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
    await page.goto(site.url + hash);
    await page.getByRole("listbox", { name: /^Tokens of the response/ }).getByRole("option").first().waitFor();
    assert.equal((await chapters(page)).filter((id) => id !== "stages").length, 11, hash);
    assert.ok(await bar(page).getByRole("button", { name: "Step", exact: true }).isEnabled(), hash);
    assert.deepEqual(wrong, [], hash);
    await page.close();
  }
});

test("settings in a link that cannot be are told by name when a run begins, and the defaults lead out of it", async (t) => {
  const { page, wrong } = await visit(t, site, { whole: false });
  await load(page);
  for (const [setting, value] of [
    ["kl_coef", "much"], ["gamma", "2"], ["mini_batch_size", "7"], ["batch_size", "0"], ["batch_size", "1000000000"],
    ["kl_estimator", "k9"], ["colour", "blue"],
  ]) {
    await page.evaluate((hash) => { location.hash = hash; }, `trainer?${setting}=${value}`);
    await startOver(page).click();
    await page.getByRole("alert").first().waitFor();
    await idle(page);
    const all = await alerts(page);
    assert.equal(all.length, 1, `${setting}=${value}: ${JSON.stringify(all)}`);
    assert.match(all[0].what, new RegExp(`\\b${setting}\\b`), `${setting}=${value} is named`);
    assert.match(all[0].hint, /\p{L}{3}/u, `${setting}=${value}: what to do`);
    await closeNotices(page);
  }
  // The same by the other way to a run.
  await bar(page).getByRole("button", { name: "Step", exact: true }).click();
  await page.getByRole("alert").first().waitFor();
  await idle(page);
  assert.equal((await alerts(page)).length, 1, "one fault, one message");
  await closeNotices(page);

  await trainer(page).getByRole("button", { name: "Back to the defaults", exact: true }).click();
  assert.equal(new URL(page.url()).hash, "#trainer");
  await step(page);
  assert.deepEqual(await alerts(page), []);
  assert.deepEqual(wrong, []);
});

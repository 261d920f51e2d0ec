// The chapters on reward hacking and with experiments, the pictures of a step, and a response as a table. What is shown is
// compared with what was recorded, so that another recording changes no test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bar, idle, line, load, shared, step, visit } from "./person.mjs";
import { cells, chapter, eventually, recorded, shipped, unfold, value } from "./story.mjs";

const site = shared();
const page0 = recorded(), leash = JSON.parse(shipped("recorded/leash.json")), experiments = JSON.parse(shipped("recorded/experiments.json"));
const middle = page0.steps[page0.steps.length >> 1];
const hacking = (page) => chapter(page, "Reward hacking");
const ppo = (page) => chapter(page, "3.2 PPO");
const last = (all) => all.at(-1);
const near = (text, expected, what, digits = 2) => assert.ok(Math.abs(value(text) - expected) <= 0.51 * 10 ** -digits, `${what}: "${text}", expected ${expected}`);

test("the signs of reward hacking are the run's own numbers, beside those of the run without the penalty", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#hacking" });
  const table = hacking(page).getByRole("region", { name: "Signs of reward hacking" });
  const rows = await eventually("the recorded numbers", () => cells(table), (all) => all.length === 6 && all[0][3].includes("→"));
  const { before, after } = page0.evaluated.numbers, metrics = page0.run.metrics, without = leash.lanes[1];
  const key = (i, name) => metrics.at(i)[name];
  near(rows[0][1], key(0, "ppo/mean_scores"), "score, first");
  near(rows[0][2], key(-1, "ppo/mean_scores"), "score, now");
  near(rows[0][3].split("→")[1], last(without.score), "score without the penalty");
  near(rows[1][2], key(-1, "objective/kl"), "KL", 1);
  near(rows[1][3].split("→")[1], last(without.kl), "KL without the penalty", 1);
  near(rows[3][1], before.rouge1, "ROUGE-1 before");
  near(rows[3][2], after.rouge1, "ROUGE-1 after");
  near(rows[4][3].split("→")[0], without.distinct1[0], "distinct-1 without the penalty");
  assert.deepEqual(rows[5].slice(1, 3).map(Number), [before.empty, after.empty]);

  const verdict = await hacking(page).locator("#verdict").innerText();
  const { score_difference: score, rouge1_difference: rouge } = page0.evaluated.numbers;
  assert.equal(/^Reward hacking/.test(verdict), score.verdict === "higher" && rouge.verdict === "lower" && rouge.mean < -0.1, verdict);
  assert.ok(verdict.includes(after.rouge1.toFixed(2)), verdict);
  const path = hacking(page).getByRole("img", { name: /path/ });
  assert.equal((await path.locator("path.dots.is-small").getAttribute("d")).split("M").length - 1, metrics.length, "a dot for each step");
  assert.equal(await path.locator("path.is-dashed").count(), 2, "two recorded runs");
  assert.deepEqual(wrong, []);
});

test("texts that say nothing are scored here, and a live run waits for its own comparison", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#hacking?batch_size=4&mini_batch_size=4&output_min_length=8&output_max_length=9" });
  await load(page);
  await hacking(page).getByRole("button", { name: "Score these texts", exact: true }).click();
  const table = hacking(page).getByRole("region", { name: "Scores of texts that say nothing" });
  const rows = await eventually("scores", () => cells(table), (all) => all.every(([, score]) => /\d/.test(score)));
  assert.equal(rows.length, 4);
  assert.ok(rows.some(([, score]) => value(score) > 2), "one of them gets a high score");
  await idle(page);
  await step(page);
  const verdict = hacking(page).locator("#verdict");
  await eventually("the verdict", () => verdict.innerText(), (text) => text.includes("has not been compared yet"));
  const numbers = chapter(page, "3.3 Before and after, in numbers");
  await numbers.getByLabel("Dialogues").fill("6");
  await numbers.getByRole("button", { name: "Compare", exact: true }).click();
  await idle(page);
  await eventually("its own verdict", () => verdict.innerText(), (text) => /ROUGE-1|Too few/.test(text));
  assert.deepEqual(wrong, []);
});

test("each experiment asks first; its answer shows what was recorded; its button chooses its settings", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#experiments" });
  const all = chapter(page, "Experiments").locator(".experiment");
  await eventually("the experiments", () => all.count(), (n) => n === experiments.length);
  for (const [i, one] of experiments.entries()) {
    const here = all.nth(i);
    assert.ok((await here.innerText()).includes(one.question), one.title);
    assert.equal(await here.locator(".chart").count(), 0, "nothing is told before one asks");
    await unfold(here, "The answer");
    await here.getByText(one.answer, { exact: true }).waitFor();
    const numbers = await here.locator("details .num", { hasText: /^After / }).innerText();
    assert.ok(numbers.includes(one.rouge1[1].toFixed(2)), numbers);
    near(/mean score (\S+),/.exec(numbers)[1], last(one.score), "score");
    assert.equal(await here.getByRole("slider", { name: "Score of the batch, by step" }).getAttribute("aria-valuemax"), String(one.score.length));
  }
  const one = experiments[0], [[name, set]] = Object.entries(one.changes);
  await all.first().getByRole("button", { name: /^Train this in the tab/ }).click();
  await eventually("its settings", () => page.evaluate(() => location.hash), (hash) => hash.includes(`${name}=${set}`));
  await line(page).getByText(/^step 1 of/).waitFor({ timeout: 300_000 });
  await bar(page).getByRole("button", { name: "Pause", exact: true }).click();
  assert.deepEqual(wrong, []);
});

test("a link opens one experiment, and keeps the settings that were chosen", async (t) => {
  const one = experiments.at(-1);
  const { page, wrong } = await visit(t, site, { hash: `#experiments?experiment=${one.id}&seed=4` });
  const here = page.locator(`#experiment-${one.id}`);
  await eventually("its place on the screen", () => here.evaluate((e) => e.getBoundingClientRect().top).catch(() => NaN), (top) => top >= 0 && top < 300);
  assert.equal(await here.locator(".chart").count(), 0, "the question comes first");
  const other = page.locator(`#experiment-${experiments[0].id}`).getByRole("link", { name: "Link to this experiment" });
  await other.click();
  await eventually("the other one", () => page.evaluate(() => location.hash), (hash) => hash.includes(`experiment=${experiments[0].id}`) && hash.includes("seed=4"));
  assert.deepEqual(wrong, []);
});

test("the pictures show every token of the step, and the table the chosen response", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#ppo?row=3" });
  await page.getByRole("listbox", { name: /^Tokens of the response/ }).waitFor();
  const picture = (name) => ppo(page).getByRole("region", { name, exact: true });
  const points = (of) => of.evaluate((path) => path.getAttribute("d").split("M").length - 1);
  const trained = middle.grids.mask.data.filter((x) => x > 0).length;
  const dots = picture("The clipped objective over the ratio").locator("path.dots");
  await eventually("the picture", () => dots.count(), (n) => n === 2);
  assert.equal((await points(dots.first())) + (await points(dots.last())), trained);
  const pieces = middle.responses[2].pieces;
  assert.equal(await points(picture("Value predictions along one summary").locator("path.dots")), pieces.length);
  assert.equal(await picture("Value predictions along one summary").locator("path.gap").count(), pieces.length);
  assert.equal(await picture("Token probabilities before and after").locator("path.bars").count(), 2 * pieces.length);

  const fold = await unfold(ppo(page), "This response as a table");
  const table = fold.getByRole("region", { name: "The response, token by token" });
  const rows = await eventually("its tokens", () => cells(table), (all) => all.length === pieces.length);
  const { cols, data } = middle.grids.old_values;
  rows.forEach((row, k) => near(row[5], data[2 * cols + k], `value of token ${k}`, 3));
  await fold.getByLabel("join the pieces to words").check();
  const words = pieces.filter((piece, k) => k === 0 || piece.text.startsWith(" ")).length;
  const joined = await eventually("words", () => cells(table), (all) => all.length === words);
  const sum = (column) => (all) => all.reduce((sum, row) => sum + value(row[column]), 0);
  assert.ok(Math.abs(sum(4)(rows) - sum(4)(joined)) < 0.01 * rows.length, "the rewards stay the same in sum");
  assert.deepEqual(wrong, []);
});

// The first experiment: it plays by itself once from the recording, can be moved by hand and by keyboard, stands still where
// nothing may move, and leads to a run of one's own. The recording is read, so that another one changes no test.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { dist } from "./harness.mjs";
import { PATIENCE, bar, line, shared, visit } from "./person.mjs";
import { eventually } from "./story.mjs";

const site = shared();
const recorded = JSON.parse(await readFile(join(dist, "recorded/leash.json"), "utf8"));
const leash = (page) => page.getByRole("region", { name: "Why PPO needs a leash" });
const plain = (text) => text.split(/\s+/).filter(Boolean).join(" ") || "(empty)";
const shown = async (page) => (await leash(page).locator(".lane-text").allInnerTexts()).map(plain);
const at = (i) => recorded.lanes.map((lane) => plain(lane.texts[i].text));
const end = recorded.lanes[0].texts.length - 1;

test("it moves within a second of the page, once, and ends at the last step, in the first sight of the page", async (t) => {
  const { page, wrong } = await visit(t, site);
  await leash(page).locator(".lane-text").first().waitFor();
  const seen = [];
  await eventually("the last step", async () => {
    const now = await shown(page);
    if (String(now) !== String(seen.at(-1))) seen.push(now);
    return leash(page).getByRole("button", { name: "Watch again" }).count();
  }, (n) => n === 1, 20);
  assert.ok(seen.length > 2, `${seen.length} different texts`);
  assert.deepEqual(await shown(page), at(end));
  const bottom = await leash(page).locator(".lane-text").last().evaluate((one) => one.getBoundingClientRect().bottom);
  assert.ok(bottom <= 900, `the texts end at ${bottom} px`);
  assert.deepEqual(wrong, []);
});

test("nothing moves under reduced motion; the slider has a keyboard, marks insults, and moves with the charts", async (t) => {
  const { page, wrong } = await visit(t, site, { reduced: true });
  const slider = leash(page).getByRole("slider", { name: "Steps of PPO" });
  await slider.waitFor();
  assert.deepEqual(await shown(page), at(end));
  await slider.focus();
  await page.keyboard.press("Home");
  assert.deepEqual(await shown(page), at(0));
  assert.equal(await slider.getAttribute("aria-valuetext"), `step 0 of ${recorded.lanes[0].texts[end].step}`);
  const marks = (await leash(page).locator(".lane-text mark").allInnerTexts()).map((word) => word.toLowerCase().replace(/[^a-z']/g, ""));
  assert.ok(marks.length > 0 && marks.every((word) => recorded.insults.includes(word)), String(marks));
  await page.keyboard.press("ArrowRight");
  assert.deepEqual(await shown(page), at(1));
  const chart = leash(page).getByRole("slider", { name: "Score of the batch, by step" });
  await chart.focus();
  await page.keyboard.press("Home");
  assert.match(await chart.getAttribute("aria-valuetext"), /^step 1:/);
  assert.deepEqual(await shown(page), at(0), "step 1 comes after the text of step 0");
  assert.deepEqual(wrong, []);
});

test("what the sentences say is what was recorded", async (t) => {
  const { page } = await visit(t, site, { reduced: true });
  const notes = await leash(page).locator(".lane .note").allInnerTexts();
  recorded.lanes.forEach((lane, i) => {
    const [before, after] = lane.rouge1;
    assert.ok(notes[i].includes(`${before.toFixed(2)} → ${after.toFixed(2)}`), notes[i]);
    const rose = lane.score.at(-1) - lane.score[0] > 0.2;
    assert.equal(/reward hacking/.test(notes[i]), rose && after - before < -0.15, notes[i]);
  });
});

test("one button begins the run without the penalty", async (t) => {
  const { page } = await visit(t, site, { reduced: true });
  await leash(page).getByRole("button", { name: /^Do it yourself, in this tab \(\d[\d.]*\sMB\)$/ }).click();
  await eventually("its settings", () => page.evaluate(() => location.hash), (hash) => hash.includes("kl_coef=0"));
  await line(page).getByText(/^step 1 of/).waitFor({ timeout: PATIENCE });
  await bar(page).getByRole("button", { name: "Pause", exact: true }).click();
});

test("a shared link has a card: title, description and a picture that is there", async (t) => {
  const { page } = await visit(t, site);
  const card = await page.locator('meta[property^="og:"]').evaluateAll((all) => Object.fromEntries(all.map((one) => [one.getAttribute("property"), one.content])));
  assert.match(card["og:title"], /PPO/);
  assert.match(card["og:description"], /small T5/, "the model that the page runs");
  const picture = await page.request.get(new URL(card["og:image"], site.url).href);
  assert.equal(picture.status(), 200);
  assert.ok((await picture.body()).length < 300_000);
});

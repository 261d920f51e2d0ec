// What can be measured of the page's looks and size: formulas have their font, small type is not too small, chapters have names in every
// list, nothing scrolls sideways, and presenter mode. Whether it is beautiful is for people who look at `make screenshots`.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { dist } from "./harness.mjs";
import { at, bar, line, shared, visit } from "./person.mjs";
import { eventually } from "./story.mjs";

const site = shared();
/** Most bytes of the page's own code, gzipped: without styles, worker, models and recorded runs. */
const CODE = 500_000;
const there = (page) => page.getByRole("listbox", { name: /^Tokens of the response/ }).waitFor();

test("formulas are set in the page's own font, with subscripts below the line", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#ppo" });
  await there(page);
  await page.evaluate(() => document.fonts.load('20px "Page Math"'));
  assert.ok(await page.evaluate(() => [...document.fonts].some((font) => font.family.includes("Page Math") && font.status === "loaded")));
  const lower = await page.locator("#ppo .formula msub").first().evaluate((sub) => {
    const [base, below] = [...sub.children].map((one) => one.getBoundingClientRect());
    return { down: below.bottom - base.bottom, high: base.height };
  });
  assert.ok(lower.down > 0.2 * lower.high, JSON.stringify(lower));
  assert.deepEqual(wrong, []);
});

test("no text is smaller than 14 px, and 15 px in the diagram on a large screen", async (t) => {
  const { page } = await visit(t, site, { hash: "#ppo" });
  await there(page);
  const small = (where, least) => page.locator(where).evaluate((root, least) => {
    const own = (one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const size = (one) => parseFloat(getComputedStyle(one).fontSize);
    const seen = (one) => one.getClientRects().length > 0 && !one.closest("math, .sr-only, .unseen");
    return [...root.querySelectorAll("*")].filter((one) => own(one) && seen(one) && size(one) < least)
      .map((one) => `${one.tagName} ${one.className?.baseVal ?? one.className} ${size(one)}px`).slice(0, 5);
  }, least);
  assert.deepEqual(await small("main", 13.99), []);
  assert.deepEqual(await small(".aside", 13.99), []);
  await page.setViewportSize({ width: 1920, height: 1080 });
  assert.deepEqual(await small(".machine", 15), []);
});

for (const width of [1440, 1280, 1024, 768, 390, 360]) {
  test(`${width} px: chapters have names in their list, and nothing scrolls sideways`, async (t) => {
    const { page } = await visit(t, site, { width, height: 800, reduced: true });
    await there(page);
    await page.locator(".lane-text").first().waitFor();
    const menu = page.getByRole("navigation", { name: "Chapters, as a menu" }).getByRole("button");
    if (await menu.isVisible()) await menu.click();
    const titles = page.locator(":is(.rail, .menu) a .rail-title:visible");
    assert.equal(await titles.count(), 11);
    for (const title of await titles.all()) assert.ok((await title.boundingBox()).width > 30, await title.innerText());
    const by = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(by <= 0, `the document scrolls sideways by ${by} px`);
  });
}

test("presenter mode comes with a link, has larger type, and its keys move the run", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#ppo?present=1&stage=8&batch_size=4&mini_batch_size=4&output_min_length=8&output_max_length=9" });
  await there(page);
  const type = () => page.evaluate(() => parseFloat(getComputedStyle(document.documentElement).fontSize));
  assert.equal(await type(), 21);
  await page.getByRole("group", { name: "Stages of the step" }).getByRole("button", { name: /^8/, pressed: true }).waitFor();
  await page.keyboard.press("s");
  await at(page, 1);
  await page.keyboard.press("n");
  await line(page).getByText(/^Paused at stage/).waitFor({ timeout: 300_000 });
  await bar(page).getByText("More", { exact: true }).click();
  await bar(page).getByLabel(/^Presenter mode/).uncheck();
  assert.equal(await type(), 16);
  await eventually("the link", () => page.evaluate(() => location.hash), (hash) => !hash.includes("present"));
  assert.deepEqual(wrong, []);
});

test("the status line keeps its height while something is computed, and stays one line on a wide page", async (t) => {
  const { page } = await visit(t, site, { width: 1280, height: 800 });
  await there(page);
  const height = () => line(page).evaluate((one) => one.getBoundingClientRect().height);
  const before = await height();
  await bar(page).getByRole("button", { name: "Play", exact: true }).click();
  const seen = new Set();
  const words = await eventually("a progress bar", async () => { seen.add(await height()); return line(page).locator(".progress").count(); }, (n) => n > 0);
  assert.equal(words, 1);
  await line(page).getByText(/^step [1-9]/).waitFor({ timeout: 300_000 });
  seen.add(await height());
  await bar(page).getByRole("button", { name: "Pause", exact: true }).click();
  assert.deepEqual([...seen], [before]);
});

test("on a phone the menu More is whole above the bars", async (t) => {
  const { page } = await visit(t, site, { width: 390, height: 844, touch: true });
  await there(page);
  await bar(page).getByText("More", { exact: true }).click();
  const box = await page.locator(".more-box").boundingBox(), stages = await page.locator(".aside").boundingBox();
  assert.ok(box.y >= 0 && box.y + box.height <= stages.y, JSON.stringify({ box, stages }));
});

test("the page's code is at most 500 kB, and its first files leave the rest for later", async (t) => {
  const code = readdirSync(dist).filter((name) => /^app-[^/]*\.(wasm|js)$/.test(name));
  const bytes = code.reduce((sum, name) => sum + gzipSync(readFileSync(join(dist, name)), { level: 9 }).length, 0);
  assert.ok(code.length === 2 && bytes <= CODE, `${code}: ${bytes} bytes`);
  const { page } = await visit(t, site);
  await there(page);
  const asked = await page.evaluate(() => performance.getEntriesByType("resource").map((one) => new URL(one.name).pathname.split("/").slice(-2).join("/")));
  assert.ok(!asked.some((name) => /^models\//.test(name)), String(asked));
});

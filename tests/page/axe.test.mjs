// axe-core finds nothing to object to in any chapter: recorded and live, light and dark, wide and narrow, with everything
// open that can be opened. What a person does with the keyboard is address.test.mjs's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { chapters } from "./harness.mjs";
import { at, bar, choose, idle, line, press, shared, step, visit } from "./person.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDTHS = [[1440, 900], [360, 740]];
const THEMES = ["light", "dark"];

const site = shared();

/** What axe objects to on the page as it stands, or in a part of it: a line each, the chapter first. */
async function violations(page, part = "html") {
  // Through the debugger, because the page's policy allows no other script.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(`${axe};0`);
  return page.evaluate(async (part) => {
    const { violations, passes } = await window.axe.run(part, { resultTypes: ["violations"] });
    if (passes.length < 5) return [`axe has looked at nothing in ${part}: ${passes.length} rules passed`];
    const place = (node) => document.querySelector(node.target.at(-1))?.closest("section.chapter")?.id ?? "outside";
    return violations.flatMap(({ id, impact, nodes }) => nodes.map((node) =>
      `${place(node)}: ${id} (${impact}) at ${node.target.join(" ")}: ${node.failureSummary.replace(/\s+/g, " ")}`)).sort();
  }, part);
}

/** Opens whatever folds; the menus, which close when one looks elsewhere, come one by one. */
async function unfold(page) {
  await page.locator("main details").evaluateAll((all) => all.forEach((details) => { details.open = true; }));
  for (const button of await page.locator('main button[aria-expanded="false"]').all()) await button.click();
  // A chosen token shows what it could have been.
  const tokens = page.getByRole("listbox", { name: /^Tokens of the (prompt|summary)/ });
  for (const list of await tokens.all()) await list.getByRole("option").first().click();
}

async function sheet(page, look) {
  await page.getByRole("complementary").getByRole("button", { expanded: false }).click();
  await look("machine sheet");
  await page.keyboard.press("Escape");
}

/** The page's states that a click leads to, each looked at in turn. Returns what was wrong in any. */
async function inEveryState(page, narrow) {
  const found = new Map();
  const look = async (state) => {
    // What was there before is told once.
    for (const line of await violations(page)) found.set(line, found.get(line) ?? `${state}: ${line}`);
  };
  await look("as it is");
  await unfold(page);
  await look("all unfolded");
  const more = bar(page).getByText("More", { exact: true });
  await more.click();
  await look("menu of the run");
  await more.press("Escape");
  if (narrow) {
    const menu = page.getByRole("navigation", { name: "Chapters, as a menu" }).getByRole("button");
    await menu.click();
    await look("menu of chapters");
    await menu.press("Escape");
    await sheet(page, look);
  }
  return [...found.values()];
}

for (const scheme of THEMES) {
  for (const [width, height] of WIDTHS) {
    test(`the recorded run, ${scheme}, ${width} px wide: nothing to object to`, async (t) => {
      const { page } = await visit(t, site, { width, height, scheme });
      await page.getByRole("listbox", { name: /^Tokens of the response/ }).waitFor();
      assert.equal((await chapters(page)).filter((id) => id !== "stages").length, 11);
      assert.deepEqual(await inEveryState(page, width < 500), []);
    });
  }
}

test("a live run, and what only a live run shows: nothing to object to in either theme, wide and narrow", async (t) => {
  const { page } = await visit(t, site);
  const found = [];
  const everywhere = async (state, look) => {
    for (const theme of THEMES) {
      const dark = page.getByRole("button", { name: "Dark theme", exact: true });
      if (await dark.getAttribute("aria-pressed") !== String(theme === "dark")) await dark.click();
      for (const [width, height] of WIDTHS) {
        await page.setViewportSize({ width, height });
        found.push(...(await look()).map((line) => `${state}, ${theme}, ${width}: ${line}`));
      }
    }
  };
  await step(page);
  await page.getByRole("button", { name: "With and without the adapter", exact: true }).click();
  await page.getByRole("button", { name: "Score it", exact: true }).click();
  const toxicity = page.getByRole("region", { name: /Toxicity$/ });
  await toxicity.getByLabel("Dialogues").fill("2");
  await toxicity.getByRole("button", { name: "Measure", exact: true }).click();
  await idle(page);
  const numbers = page.getByRole("region", { name: /in numbers$/ });
  await numbers.getByLabel("Dialogues").fill("2");
  await numbers.getByRole("button", { name: "Compare", exact: true }).click();
  await idle(page);
  await unfold(page);
  await everywhere("live", () => violations(page));
  await sheet(page, async () => found.push(...await violations(page, ".aside"))); // the last of these was narrow

  // Stage by stage: every stage's numbers, where the step waits in it; some stages come once for every mini-batch.
  const seen = new Set();
  while (!seen.has("11")) {
    await press(page, "Stage");
    const stage = /\d+/.exec(await line(page).getByText(/^Paused at stage \d+$/).innerText())[0];
    if (!seen.has(stage)) found.push(...(await violations(page, "#stages")).map((line) => `stage ${stage}: ${line}`));
    seen.add(stage);
  }
  assert.deepEqual([...seen], ["3", "4", "5", "6", "7", "8", "9", "10", "11"]);
  await press(page, "Step");
  await at(page, 2);

  // Faults and questions: a refused setting, a refused file, a run kept from before.
  const trainer = page.getByRole("region", { name: /Trainer$/ });
  await trainer.getByLabel(/^kl_coef/).fill("much");
  await trainer.getByLabel(/^kl_coef/).press("Tab");
  await choose(page, "letter.zip", "no zip");
  await page.getByRole("alert").waitFor();
  await everywhere("faults", async () => [...await violations(page, ".notices"), ...await violations(page, "#trainer")]);
  await page.reload();
  await page.getByText(/^This browser has a saved run/).waitFor();
  await everywhere("kept", () => violations(page, "#kept"));
  assert.deepEqual([...new Set(found)], []);
});

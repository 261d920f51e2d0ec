// The page without a mouse, without motion, without sight and by touch: Tab, Escape, arrows, the skip link, what is said
// aloud, and the machine's sheet on a phone. What axe can judge by itself is axe.test.mjs's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { at, bar, idle, line, listen, loaded, press, shared, visit } from "./person.mjs";

const site = shared();

const stack = (page) => page.getByRole("listbox", { name: /^Responses of the batch/ });
const strip = (page) => page.getByRole("listbox", { name: /^Tokens of the response/ });
const focused = (page) => page.evaluate(() => {
  const one = document.activeElement;
  return `${one.tagName.toLowerCase()} ${(one.getAttribute("aria-label") ?? one.textContent).trim().slice(0, 60)}`;
});

/** In the page: notes every control that Tab should reach and how it looks without the focus. Returns what nothing reaches. */
function noteControls() {
  const look = (one) => {
    // A hidden radio button shows its focus on what stands beside it or around it.
    const faces = [one, one.closest("label"), one.nextElementSibling].filter(Boolean);
    return faces.map((face) => {
      const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(face);
      const none = outlineStyle === "none" || outlineWidth === "0px";
      return `${none ? "no outline" : `${outlineStyle} ${outlineWidth} ${outlineColor}`}, ${boxShadow}`;
    }).join("; ");
  };
  const name = (one) => {
    const words = one.getAttribute("aria-label") ?? one.closest("label")?.innerText ?? one.innerText ?? "";
    const place = one.closest("section[id]")?.id ?? "the frame";
    return `${one.tagName.toLowerCase()} "${words.trim().replace(/\s+/g, " ").slice(0, 50)}" in ${place}`;
  };
  // Of radio buttons with one name only the chosen one is a stop.
  const stop = (one) => one.type !== "radio" || one.checked;
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter((one) =>
    one.checkVisibility({ visibilityProperty: true }) && !one.matches(":disabled") && stop(one));
  window.keys = { look, name, before: new Map(), reached: new Set() };
  for (const one of all.filter((one) => one.tabIndex >= 0)) window.keys.before.set(one, look(one));
  // Arrows reach what lies in a list with one stop; headings take the focus from links alone.
  const arrows = (one) => one.closest('[role="listbox"], .stages')?.querySelector('[tabindex="0"]');
  return all.filter((one) => one.tabIndex < 0 && !/^(H\d|P|MAIN)$/.test(one.tagName) && !arrows(one)).map(name);
}

/** In the page: what is wrong with the control that has the focus; `over` when Tab has come round. */
function judgeFocus() {
  const { look, name, before, reached } = window.keys;
  const one = document.activeElement;
  if (!one || one === document.body || reached.has(one)) return { over: true };
  reached.add(one);
  if (!before.has(one)) return { faults: [`${name(one)}: Tab stops here, though there is nothing to do`] };
  const faults = [];
  if (look(one) === before.get(one)) faults.push(`${name(one)}: looks the same with the focus (${look(one)})`);
  // Somewhere of it can be seen: neither out of the window nor beneath a bar.
  const label = one.closest("label") ?? one;
  const face = one.getBoundingClientRect().width > 2 ? one : label;
  const seen = [...face.getClientRects()].some(({ left, top, width, height }) =>
    [[0.5, 0.5], [0.1, 0.2], [0.9, 0.2], [0.1, 0.8], [0.9, 0.8]].some(([x, y]) => {
      const hit = document.elementFromPoint(left + x * width, top + y * height);
      return hit && (face.contains(hit) || label.contains(hit));
    }));
  if (!seen) faults.push(`${name(one)}: has the focus where one cannot see it`);
  return { faults };
}

for (const [width, height] of [[1440, 900], [360, 740]]) {
  test(`at ${width} px Tab reaches every control, one sees where the focus is, and it is never covered`, async (t) => {
    const { page } = await visit(t, site, { whole: false, width, height, reduced: true });
    await page.locator("html[data-settled]").waitFor(); // nothing comes any more: recorded run and dialogues are there
    await page.locator("main details").evaluateAll((all) => all.forEach((details) => { details.open = true; }));
    assert.deepEqual(await page.evaluate(noteControls), [], "what no Tab and no arrow reaches");
    const faults = [];
    for (let n = 0; n < 600; n += 1) {
      await page.keyboard.press("Tab");
      const now = await page.evaluate(judgeFocus);
      if (now.over) break;
      faults.push(...now.faults);
    }
    const missed = await page.evaluate(() => {
      const { before, reached, name } = window.keys;
      // A control may go away while one walks: a menu that closes behind the focus.
      return [...before.keys()].filter((one) => one.checkVisibility() && !reached.has(one)).map(name);
    });
    assert.deepEqual({ missed, faults }, { missed: [], faults: [] });
    assert.ok(await page.evaluate(() => window.keys.reached.size) > 80, "it was the whole page");
  });
}

test("the skip link is first, shows itself, and leads past header and chapters", async (t) => {
  const { page } = await visit(t, site, { whole: false });
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the text", exact: true });
  assert.ok(await skip.evaluate((link) => link === document.activeElement && link.getBoundingClientRect().top >= 0));
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.querySelector("main").contains(document.activeElement)), await focused(page));
});

test("Escape closes menus and sheet, and the focus goes back to what opened them", async (t) => {
  const { page } = await visit(t, site, { whole: false, width: 360, height: 740 });
  await strip(page).waitFor();
  const openers = [
    [page.getByRole("navigation", { name: "Chapters, as a menu" }).getByRole("button"), page.locator("#menu a").nth(3)],
    [page.getByRole("complementary").getByRole("button", { name: /stage/i }).first(), page.locator("#machine .stage").nth(2)],
    [bar(page).locator("summary"), bar(page).getByRole("combobox", { name: /^Speed/ })],
  ];
  for (const [opener, inside] of openers) {
    const name = await opener.innerText();
    const open = () => opener.evaluate((one) => one.getAttribute("aria-expanded") ?? String(one.parentElement.open));
    await opener.focus();
    await page.keyboard.press("Enter");
    await inside.waitFor();
    await page.keyboard.press("Escape");
    await inside.waitFor({ state: "hidden" });
    assert.equal(await open(), "false", name);
    await page.keyboard.press("Enter");
    await inside.focus();
    await page.keyboard.press("Escape");
    await inside.waitFor({ state: "hidden" });
    const back = await opener.evaluate((one) => one === document.activeElement);
    assert.ok(back, `${name}: the focus is at "${await focused(page)}"`);
  }
});

test("the arrow keys move along the token strip and through the responses, and the sum follows", async (t) => {
  const { page } = await visit(t, site, { whole: false, hash: "#ppo" });
  await strip(page).waitFor();
  const chosen = () => strip(page).getByRole("option", { selected: true });
  await chosen().focus();
  const sums = [];
  const sum = page.getByRole("region", { name: "Tokens of a response" }).locator(".sum");
  const walk = [["Home", 0], ["ArrowRight", 1], ["ArrowRight", 2], ["ArrowLeft", 1], ["End", -1], ["Home", 0]];
  for (const [key, place] of walk) {
    await page.keyboard.press(key);
    const all = strip(page).getByRole("option");
    const last = await all.evaluateAll((cells) => cells.filter((cell) => !cell.hidden).length) - 1;
    const here = await chosen().getAttribute("data-item");
    assert.equal(Number(here), place < 0 ? last : place, key);
    assert.ok(await chosen().evaluate((cell) => cell === document.activeElement), `${key}: the focus follows`);
    sums.push(await sum.innerText());
  }
  assert.equal(sums[1], sums[3]);
  assert.notEqual(sums[0], sums[1]);
  const row = () => stack(page).getByRole("option", { selected: true }).getAttribute("data-item").then(Number);
  const first = await row();
  await page.keyboard.press("ArrowDown");
  assert.equal(await row(), first + 1, "down: the next response");
  await page.keyboard.press("ArrowUp");
  assert.equal(await row(), first, "up: back");

  await stack(page).getByRole("option", { selected: true }).focus();
  await page.keyboard.press("End");
  const rows = stack(page).getByRole("option");
  assert.equal(await rows.last().getAttribute("aria-selected"), "true");
  assert.match(page.url(), /row=\d+/, "the address follows");
});

test("loading and training are said aloud; who wants no motion gets none meanwhile", async (t) => {
  const { page } = await visit(t, site, { whole: false, hash: "#ppo", reduced: true });
  await strip(page).waitFor();
  const voice = await listen(page);
  await page.evaluate(() => {
    window.moved = new Set();
    const look = () => {
      for (const { effect, animationName, transitionProperty } of document.getAnimations()) {
        window.moved.add(`${animationName ?? transitionProperty} of ${effect.target.getAttribute("class")}`);
      }
      requestAnimationFrame(look);
    };
    look();
  });
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior), "auto");
  await line(page).getByRole("button", { name: /^Load the models/ }).click();
  await loaded(page);
  await press(page, "Step");
  await at(page, 1);
  await page.getByRole("complementary").hover();
  const said = (await voice.said()).join("\n");
  const told = [/Loading the models/, /Loading the models: \d+ %/, /The models are loaded/, /Training/, /Step 1 is done/];
  for (const words of told) assert.match(said, words);
  assert.deepEqual(await page.evaluate(() => [...window.moved]), []);

  // With motion a step does move something, or this test would tell nothing.
  await page.emulateMedia({ reducedMotion: "no-preference" });
  await press(page, "Step");
  await at(page, 2);
  assert.notDeepEqual(await page.evaluate(() => [...window.moved]), []);
});

test("on a phone the machine's sheet opens and closes by touch, and a touched stage leads to its numbers", async (t) => {
  const { page, wrong } = await visit(t, site, { whole: false, width: 360, height: 740, touch: true, hash: "#ppo" });
  await strip(page).waitFor();
  const handle = page.getByRole("complementary").getByRole("button", { name: /Stages of a PPO step|^Stage \d/ });
  const stage = page.getByRole("navigation", { name: "The stages of one PPO step" }).getByRole("button", { name: /7\s*rewards/ });
  assert.ok(await stage.isHidden());
  await handle.tap();
  await stage.waitFor();
  await handle.tap();
  await stage.waitFor({ state: "hidden" });
  await handle.tap();
  await stage.tap();
  await stage.waitFor({ state: "hidden" });
  const stages = page.getByRole("region", { name: "The stages, one by one" });
  assert.equal(await stages.getByRole("button", { pressed: true, name: /rewards/ }).count(), 1);
  await page.waitForFunction(() => {
    const { top } = document.getElementById("stages").getBoundingClientRect();
    return top >= 0 && top < innerHeight / 2;
  });
  // Targets of a finger's size; words of a sentence and tokens of a text are as wide as they are.
  const small = await page.locator("button, summary, select, .cell, label:has(input)").evaluateAll((all) => all
    .filter((one) => one.checkVisibility() && !one.matches(".point, .link"))
    .map((one) => ({ one, box: one.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 0 && (box.height < 24 || box.width < 24))
    .map(({ one, box }) => `${one.className} "${one.textContent.trim()}": ${box.width} × ${box.height}`));
  assert.deepEqual(small, [], "smaller than 24 px");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, "nothing sideways");
  await idle(page);
  assert.deepEqual(wrong, []);
});

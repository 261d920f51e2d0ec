// Chapters 3.2 to 3.4 live: PPO steps, the token strip, what if, before and after, the stages one by one, and stop. Settings
// and the recorded run are in story.test.mjs, continuing after a reload in keep.test.mjs, equal numbers in parity.test.mjs.
import assert from "node:assert/strict";
import { cpus, loadavg } from "node:os";
import { test } from "node:test";
import { at, bar, idle, line, PATIENCE, press, save, steps } from "./person.mjs";
import { holds } from "./sums.mjs";
import {
  button, cells, chapter, dialogues, eventually, machine, nothingWrong, shows, sources, stage, unfold, value, watch,
} from "./story.mjs";

// A small batch of short responses: every step has all its parts, and takes a second or two.
const ROWS = 8;
const here = stage({ hash: `#ppo?seed=11&batch_size=${ROWS}&mini_batch_size=${ROWS}&output_min_length=12&output_max_length=13` });
const ppo = () => chapter(here.page, "3.2 PPO");

/** The run's table: a row a step, newest first. */
const metrics = async () => {
  await unfold(ppo(), "All of it as a table");
  return cells(ppo().getByRole("region", { name: "The run, as a table" }));
};

test("3.2: three steps by the button, and charts and table hold three", async () => {
  const { page, wrong } = here;
  for (const step of [1, 2, 3]) {
    await press(page, "Step");
    await at(page, step);
  }
  const charts = ppo().getByRole("slider", { name: /, by step$/ });
  const ends = await charts.evaluateAll((all) => all.map((one) => [one.ariaValueMin, one.ariaValueMax, one.ariaValueNow]));
  assert.deepEqual(ends, Array(7).fill(["1", "3", "3"]));
  const points = await charts.locator("polyline")
    .evaluateAll((all) => all.map((one) => one.getAttribute("points").split(" ").length));
  assert.deepEqual(points, Array(9).fill(3), "a point a step on every line");
  const table = await metrics();
  assert.deepEqual(table.map((row) => row[0]), ["3", "2", "1"]);
  assert.ok(table.flat().every((cell) => Number.isFinite(value(cell))));
  assert.equal(new Set(table.map((row) => row[1])).size, 3, "each step has a mean score of its own");
  const score = ppo().getByRole("slider", { name: "Mean score, by step" });
  await score.focus();
  await page.keyboard.press("ArrowLeft");
  shows((await score.getAttribute("aria-valuetext")).match(/\S+$/)[0], value(table[1][1]), "step 2 on the chart", 5e-4);
  await page.keyboard.press("Escape");
  assert.deepEqual([...new Set(await sources(ppo()))], ["live"]);
  nothingWrong(wrong);
});

/** A token strip: its tokens, the number beneath each, and the sum written out for the chosen one. */
function strip(name) {
  const strip = ppo().getByRole("region", { name, exact: true });
  const tokens = strip.getByRole("listbox", { name: /^Tokens of the response/ }).getByRole("option");
  return {
    strip, tokens,
    quantity: (name) => strip.getByRole("radio", { name, exact: true }).check(),
    texts: () => tokens.locator(".cell-token").allInnerTexts(),
    numbers: () => tokens.locator(".cell-number").allInnerTexts(),
    place: () => strip.locator(".sum-place").innerText(),
    chosen: () => tokens.evaluateAll((all) => all.findIndex((one) => one.ariaSelected === "true")),
    sums: async () => (await strip.locator(".sum-numbers").allInnerTexts()).map((text) => text.trim()),
  };
}

test("3.2: the token strip shows the live step, the arrow keys move along it, and every calculation is right", async () => {
  const { page, wrong } = here;
  await ppo().getByText(/Step 3\. Choose a quantity/).waitFor();
  const response = strip("Tokens of a response");
  const rows = response.strip.getByRole("listbox", { name: /^Responses of the batch/ }).getByRole("option");
  assert.equal(await rows.count(), ROWS);
  const scores = (await rows.locator(".stack-score").allInnerTexts()).map(value);
  assert.deepEqual(scores, [...scores].sort((a, b) => b - a), "sorted by score");
  await rows.first().click();
  const tokens = await response.texts();
  assert.ok(tokens.length > 2 && tokens.length <= 12);

  for (const quantity of ["logprob", "reference logprob", "KL", "reward", "advantage", "return", "ratio"]) {
    await response.quantity(quantity);
    const numbers = await response.numbers();
    await response.tokens.first().click();
    await page.mouse.move(0, 0);
    await page.keyboard.press("Home");
    const seen = [];
    for (let k = 0; k < tokens.length; k += 1) {
      await eventually(`token ${k + 1}`, response.place, (place) => place === `token ${k + 1} of ${tokens.length}`, 10);
      assert.equal(await response.chosen(), k);
      const sums = await response.sums();
      const results = sums.map(holds);
      // Of an advantage's lines the second is the number beneath the token: δ comes before it, whitening after.
      shows(numbers[k], results[quantity === "advantage" ? 1 : 0], `${quantity} of token ${k + 1}`, 5e-5);
      seen.push(sums.join());
      await page.keyboard.press("ArrowRight");
    }
    assert.ok(new Set(seen).size > 1, `${quantity}: the sum changes along the tokens`);
  }
  await page.keyboard.press("ArrowDown");
  const score = await rows.nth(1).locator(".stack-score").innerText();
  await response.strip.getByRole("listbox", { name: `Tokens of the response with score ${score}: ratio` }).waitFor();
  nothingWrong(wrong);
});

test("3.2: the arrow keys reach the end of a strip, wherever the mouse is", async () => {
  const { page, wrong } = here;
  const { tokens, chosen } = strip("Tokens of a response");
  await page.setViewportSize({ width: 360, height: 800 }); // narrow, so that the strip scrolls under the mouse
  try {
    await tokens.nth(2).click();
    for (let k = 3; k < await tokens.filter({ visible: true }).count(); k += 1) {
      await page.keyboard.press("ArrowRight");
      // A browser sends pointer events for a mouse that does not move when it paints.
      const frame = () => new Promise(requestAnimationFrame);
      await page.evaluate(`(async (frame) => { for (let i = 0; i < 4; i += 1) await frame(); })(${frame})`);
      assert.equal(await chosen(), k);
    }
  } finally {
    await page.setViewportSize({ width: 1440, height: 900 });
  }
  nothingWrong(wrong);
});

test("3.2: what if with a larger kl_coef: rewards, advantages and losses move, and nothing is generated", async () => {
  const { page, wrong } = here;
  const whatIf = chapter(page, "What if");
  const [was, would] = [strip("The response as it was"), strip("The same response with these settings")];
  await was.quantity("reward");
  // The token with the largest KL penalty before the last one.
  const penalties = await was.numbers();
  const k = penalties.slice(0, -1).reduce((best, text, i) => (Math.abs(value(text)) > Math.abs(value(penalties[best])) ? i : best), 0);
  await was.tokens.nth(k).click();
  const [before] = await was.sums();
  assert.deepEqual(await would.sums(), [before], "nothing is changed yet");
  const doing = await watch(line(page));

  const slider = whatIf.getByRole("slider", { name: /kl_coef/ });
  await slider.focus();
  await page.keyboard.press("End");
  await whatIf.getByText("The same tokens, with these settings").waitFor();
  const coefficient = Number(await slider.inputValue());
  const [after] = await eventually("another reward", would.sums, ([sum]) => sum !== before);
  assert.deepEqual(await was.sums(), [before], "what was stays as it was");
  assert.match(after, new RegExp(`^= −${coefficient} · `));
  const kl = (sum) => sum.slice(sum.indexOf("·"), sum.lastIndexOf("="));
  assert.equal(kl(after), kl(before), "the same tokens, the same log-probs");
  assert.ok(holds(after) !== holds(before));
  assert.deepEqual(await would.texts(), await was.texts());
  const losses = await cells(whatIf.getByRole("table", { name: "Means over the step's mini-batches" }));
  losses.forEach(([name, one, other, difference]) => shows(difference, value(other) - value(one), name, 1e-4));
  assert.ok(losses.some(([, , , difference]) => value(difference) !== 0));
  await was.quantity("advantage");
  const advantages = async () => [await was.sums(), await would.sums()];
  await eventually("another advantage", advantages, ([one, other]) => one[1] !== other[1]);
  (await would.sums()).forEach(holds);

  await button(whatIf, "Reset").click();
  await whatIf.getByText(/^Nothing changed/).waitFor();
  assert.deepEqual(await would.sums(), await was.sums());
  assert.deepEqual((await doing()).filter((text) => /Training|Writing|writing/.test(text)), []);
  assert.equal((await metrics()).length, 3);
  nothingWrong(wrong);
});

const N = 6;
const numbers = () => chapter(here.page, "3.3 Before and after, in numbers");
const texts = () => chapter(here.page, "3.4 Before and after, in text");

/** The rows of 3.4 as they are read: texts with what was marked, scores, P(hate). */
const pairs = () => texts().locator(".compare-row").evaluateAll((all) => all.map((row) => {
  const words = (text) => text.split(/\s+/).filter(Boolean);
  const side = (one, mark) => {
    const text = one.querySelector(".compare-text");
    const rest = text.cloneNode(true);
    rest.querySelectorAll(mark).forEach((marked) => marked.remove());
    const [, score, hate] = one.querySelector(".compare-scores").textContent.match(/score (\S+) · P\(hate\) (\S+)/);
    return { words: words(text.textContent), rest: words(rest.textContent), score, hate };
  };
  const [before, after] = row.querySelectorAll(".compare-side");
  return {
    id: row.querySelector(".compare-id").textContent, change: row.querySelector(".compare-change").textContent.trim(),
    before: side(before, "del"), after: side(after, "ins"),
  };
}));

test("3.3: a few dialogues before and after, with progress, paired, and words that the interval allows", async () => {
  const { page, wrong } = here;
  await numbers().getByLabel("Dialogues").fill(String(N));
  await numbers().getByLabel("Dialogues").press("Tab");
  await button(numbers(), "Compare").click();
  await line(page).getByText(/^Comparing before and after/).first().waitFor();
  await idle(page);
  assert.deepEqual(await sources(numbers()), ["live"]);
  const rows = await cells(numbers().getByRole("region", { name: "Before and after, as a table" }));
  for (const [name, before, after, difference, says] of rows.filter((row) => row[3])) {
    const [mean, low, high] = difference.replaceAll(/[[\],]/g, " ").trim().split(/\s+/).map(value);
    shows(difference.split(" ")[0], value(after) - value(before), name, 1e-4);
    assert.ok(low <= mean && mean <= high, `${name}: ${difference}`);
    const allowed = low > 0 ? /higher after than before/ : high < 0 ? /lower after than before/ : /no difference beyond noise/;
    assert.ok(/too few pairs/.test(says) || allowed.test(says), `${name}: ${difference}: ${says}`);
  }
  const [, before, after] = rows.find(([name]) => name === "toxicity, mean");
  const mean = (of) => of.reduce((sum, text) => sum + value(text), 0) / N;
  const read = await pairs();
  shows(before, mean(read.map((row) => row.before.hate)), "toxicity before", 5e-5);
  shows(after, mean(read.map((row) => row.after.hate)), "toxicity after", 5e-5);
  nothingWrong(wrong);
});

test("3.4: pairs in every order, with the words that went and came marked, and a csv with all of it", async () => {
  const { wrong } = here;
  assert.deepEqual(await sources(texts()), ["live"]);
  const gain = (row) => value(row.after.score) - value(row.before.score);
  const orders = {
    "most toxic after training first": (row) => -value(row.after.hate),
    "largest gain in score first": (row) => -gain(row),
    "largest loss in score first": gain,
  };
  for (const [name, key] of Object.entries(orders)) {
    await texts().getByLabel("Order").selectOption({ label: name });
    const keys = (await pairs()).map(key);
    assert.equal(keys.length, N);
    // Scores stand with three digits: two rows that look alike there may stand either way.
    keys.slice(1).forEach((one, i) => assert.ok(one >= keys[i] - 0.002, `${name}: ${keys}`));
  }
  const rows = await pairs();
  for (const { id, change, before, after } of rows) {
    assert.deepEqual(before.rest, after.rest, `${id}: what is not marked stands on both sides`);
    const same = before.words.join(" ") === after.words.join(" ");
    if (same) assert.match(change, /the same text/, id);
    else assert.ok([before, after].some(({ rest, words }) => rest.length < words.length), `${id}: nothing is marked`);
  }
  assert.ok(rows.some(({ before, after }) => before.words.join() !== after.words.join()), "three steps have changed something");

  const { name, bytes } = await save(here.page, "Save as csv");
  assert.equal(name, "comparison.csv");
  const [head, ...lines] = csv(bytes.toString("utf8"));
  assert.deepEqual(head, ["index", "query", "reference", "before", "after", "score_before", "score_after", "difference"]);
  assert.equal(lines.length, N);
  const all = dialogues();
  for (const fields of lines) {
    assert.equal(fields.length, head.length);
    const [, query, reference, before, after, ...scores] = fields;
    const source = all.find((one) => one.dialogue === query);
    assert.ok(source, `a dialogue comes through its quotes and line breaks whole: ${query}`);
    assert.deepEqual([source.summary, source.split], [reference, "test"]);
    const row = rows.find((one) => one.id === source.id);
    const words = (text) => text.split(/\s+/).filter(Boolean);
    assert.deepEqual([words(before), words(after)], [row.before.words, row.after.words]);
    const [was, is, difference] = scores.map(Number);
    shows(row.before.score, was, `${source.id}: score before`);
    shows(row.after.score, is, `${source.id}: score after`);
    assert.ok(Math.abs(difference - (is - was)) < 1e-9);
  }
  nothingWrong(wrong);
});

/** RFC 4180: fields between commas, lines between line ends, both inside quotes as they are, quotes doubled. */
function csv(text) {
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/y;
  const rows = [[]];
  while (field.lastIndex < text.length) {
    const found = field.exec(text);
    assert.ok(found, "not csv");
    rows.at(-1).push(found[1]?.replaceAll('""', '"') ?? found[2]);
    if (found[3] === "\r\n" && field.lastIndex < text.length) rows.push([]);
  }
  return rows;
}

/** Begins again; `More` asks once more where steps are lost. */
async function startOver() {
  const lost = await steps(here.page) > 0;
  await bar(here.page).getByText("More", { exact: true }).click();
  await bar(here.page).getByRole("button", { name: /^Start over/ }).click();
  if (lost) await button(bar(here.page), "Press again: the run's steps are lost").click();
  await bar(here.page).getByText("More", { exact: true }).click();
  await at(here.page, 0);
}

test("3.2: stage by stage, the twelve stages of a step come in order, each with its numbers", async () => {
  const { page, wrong } = here;
  await startOver();
  const stages = machine(page).getByRole("button");
  const stage = async (n) => (await stages.nth(n - 1).innerText()).split("\n").map((part) => part.trim()).filter(Boolean);
  const view = chapter(page, "The stages, one by one").locator(".stage-view");
  const total = (texts) => texts.reduce((sum, text) => sum + value(text), 0);
  const visited = [];
  const inside = {
    3: async () => {
      assert.equal(await view.getByRole("listitem").count(), ROWS);
      assert.equal(total(await view.locator(".stage-row-head .num").allInnerTexts()), value((await stage(3))[2]));
      // The dialogues and prompts of stages 1 and 2 are those of this very batch.
      for (const n of [1, 2]) assert.equal((await stage(n))[2], `${ROWS} rows`, `stage ${n}`);
    },
    4: async () => assert.equal(total(await view.locator(".stage-row-head").allInnerTexts()), value((await stage(4))[2])),
    5: async () => {
      const scores = (await cells(view.getByRole("table"))).map((row) => row[4]);
      assert.equal(scores.length, ROWS);
      shows((await stage(5))[2].replace("score ", ""), total(scores) / ROWS, "the mean score", 5e-5);
    },
  };
  for (let n = 3; n <= 11; n += 1) {
    await press(page, "Stage");
    await line(page).getByText(`Paused at stage ${n}`, { exact: true }).waitFor({ timeout: PATIENCE });
    await ppo().getByText("Paused: Stage, Step or Play continues").waitFor();
    const current = await stages.evaluateAll((all) => all.findIndex((one) => one.ariaCurrent === "step") + 1);
    const [number, name, headline] = await stage(n);
    assert.deepEqual([current, Number(number), await view.locator(".stage-number").innerText()], [n, n, number]);
    assert.match(headline, /\d/, `a number in the machine at ${name}`);
    const numbers = (await view.innerText()).replace(/^\d+\s+.*$/m, "").match(/\d+/g) ?? [];
    assert.ok(numbers.length > 2, `numbers of ${name}: ${await view.innerText()}`);
    assert.equal(await chapter(page, "The stages, one by one").locator(".source").innerText(), "live");
    await inside[n]?.();
    visited.push(name);
  }
  const names = ["tokens", "generate", "reward", "logprobs, value", "rewards", "advantages", "loss", "optimizer", "statistics"];
  assert.deepEqual(visited, names);
  await press(page, "Stage");
  await at(page, 1);
  assert.equal((await stage(12))[2], "step 1");
  const done = await stages.allInnerTexts();
  done.forEach((text) => assert.match(text, /\bdone\b/));
  nothingWrong(wrong);
});

test("3.2: the question whether to start over stays four seconds, also when an earlier one was answered just before", async () => {
  const { page, wrong } = here;
  await startOver();
  const asked = performance.now();
  await press(page, "Step");
  await at(page, 1);
  await bar(page).getByText("More", { exact: true }).click();
  const question = button(bar(page), "Press again: the run's steps are lost");
  await button(bar(page), "Start over").click();
  const now = performance.now();
  await page.waitForTimeout(Math.max(1000, 4300 - (now - asked)));
  if (performance.now() - now < 3800) assert.ok(await question.isVisible(), "the timer of the earlier question has ended this one");
  await button(bar(page), "Start over").waitFor();
  await bar(page).getByText("More", { exact: true }).click();
  nothingWrong(wrong);
});

/** From the press to the moment when the page says that it has stopped and has nothing left to stop, in milliseconds. */
const stopped = (page) => page.evaluate(() => new Promise((done) => {
  const all = [...document.querySelectorAll('[role="group"][aria-label="The run"] button')];
  const stop = all.find((one) => one.textContent.trim() === "Stop");
  const said = document.querySelector('p[role="status"].unseen');
  const since = performance.now();
  const look = () => {
    const plays = all.find((one) => one.classList.contains("play")).textContent.includes("Play");
    if (plays && stop.disabled && said.textContent === "Stopped") done(performance.now() - since);
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  stop.click();
}));

test("3.2: while playing with the default settings, stop ends the step, and the run is at a whole one", async () => {
  const { page, wrong } = here;
  await button(chapter(page, "3.1 Trainer"), "Back to the defaults").click();
  await startOver();
  await button(bar(page), "Play").click();
  await line(page).getByText("step 1 of 80", { exact: true }).waitFor({ timeout: PATIENCE });
  const times = {};
  // The old log-probs come from the generation, so that pass takes no time and its words are not seen.
  for (const phase of ["writing responses", "reference log-probs", "mini-batches"]) {
    if (await button(bar(page), "Play").isVisible()) await button(bar(page), "Play").click();
    await line(page).getByText(`Training: ${phase}`, { exact: true }).waitFor({ timeout: PATIENCE });
    times[phase] = Math.round(await stopped(page));
    await idle(page);
    const whole = Array.from({ length: await steps(page) }, (_, i) => String(i + 1)).reverse();
    assert.deepEqual((await metrics()).map((row) => row[0]), whole, `stopped at ${phase}: what was not finished is gone`);
    assert.equal(await line(page).getByText(/^Training/).count(), 0);
  }
  const machine = `with a load of ${loadavg()[0].toFixed(1)} on ${cpus().length} processors`;
  console.log(`# stop answered after ${JSON.stringify(times)} ms, ${machine}`);
  // Within a second is bench.mjs's to measure, on a machine of its own; here others may hold the processors.
  for (const [phase, ms] of Object.entries(times)) assert.ok(ms < 10_000, `${phase}: ${ms} ms, ${machine}`);
  nothingWrong(wrong);
});

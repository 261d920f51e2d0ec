// Chapters 2.1 to 2.3 with the models loaded: dialogues, tokens, writing, the adapter, scoring, measuring toxicity. The
// same chapters before anything is loaded are story's; training is story-ppo's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { idle, line, load } from "./person.mjs";
import {
  button, cells, chapter, dialogues, eventually, fact, nothingWrong, recorded, shipped, shows, sources, stage, symbol, unfold,
  value, watch,
} from "./story.mjs";

const here = stage();
const run = recorded();
const policy = () => chapter(here.page, "2.1 Data and policy");
const reward = () => chapter(here.page, "2.2 Reward model");
const toxicity = () => chapter(here.page, "2.3 Toxicity");

/** A number or text is typed into a field and taken over, as by the tab key. */
async function type(where, label, text) {
  await where.getByLabel(label, { exact: true }).fill(text);
  await where.getByLabel(label, { exact: true }).press("Tab");
}

/** The tensors of a safetensors file, by name: how many numbers each holds. */
function tensors(name) {
  const bytes = shipped(name, null);
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())));
  delete header.__metadata__;
  return Object.entries(header).map(([tensor, { shape }]) => [tensor, shape.reduce((a, b) => a * b, 1)]);
}
const weights = (all) => all.reduce((sum, [, n]) => sum + n, 0);

test("2.1: dialogues are found by their words, page by page, and one is chosen", async () => {
  const { page, wrong } = here;
  await load(page);
  const all = dialogues();
  const count = (words, heldOut) => all.filter(({ id, dialogue, split }) => (!heldOut || split === "test")
    && words.split(" ").every((word) => `${id} ${dialogue}`.toLowerCase().includes(word))).length;
  const says = async (words, heldOut) => {
    const n = count(words, heldOut);
    assert.ok(n > 5, `${words}: ${n}`);
    await policy().getByText(new RegExp(`^page 1 of ${Math.ceil(n / 5)}, ${n} dialogues$`)).waitFor();
  };
  await policy().getByRole("searchbox", { name: "Find words" }).fill("stupid you");
  await says("stupid you", true);
  await policy().getByLabel("only those held out from training").uncheck();
  await says("stupid you", false);
  const list = policy().getByRole("list", { name: "Dialogues" });
  const first = await list.getByRole("button").allInnerTexts();
  await button(policy(), "Next").click({ timeout: 10_000 });
  const second = await list.getByRole("button").allInnerTexts();
  assert.ok(first.length === 5 && second.length > 0 && !second.some((one) => first.includes(one)));
  const one = list.getByRole("button").first();
  await one.click();
  assert.equal(await one.getAttribute("aria-pressed"), "true");
  const id = (await one.innerText()).match(/[a-z]+-\d+/)[0];
  const field = policy().getByLabel("The dialogue, or one of your own");
  assert.equal(await field.inputValue(), all.find((dialogue) => dialogue.id === id).dialogue);
  await policy().getByRole("searchbox").fill("no such word anywhere");
  await policy().getByText("No dialogue has these words").waitFor();
  nothingWrong(wrong);
});

test("2.1: a dialogue of one's own becomes tokens, each with the id that the tokenizer has for it", async () => {
  const { page, wrong } = here;
  const own = "#Person1#: You took my umbrella, you silly man!\n#Person2#: Sorry, I thought it was mine.";
  await policy().getByLabel("The dialogue, or one of your own").fill(own);
  const list = policy().getByRole("listbox", { name: "Tokens of the prompt" });
  const read = () => list.getByRole("option").evaluateAll((all) =>
    all.map((one) => (one.classList.contains("is-word") ? " " : "") + one.textContent.replace("␣", " ").replace("⏎", "\n")));
  const pieces = await eventually("tokens of the text", read, (all) => all.join("").includes("umbrella"));
  const flat = (text) => text.split(/\s+/).filter(Boolean).join(" ");
  const whole = `Summarize the following conversation. ${own} Summary:`;
  assert.equal(flat(pieces.join("").replace("</s>", "")), flat(whole), "the tokens are the prompt, whole");

  const { vocab } = JSON.parse(shipped("models/policy/tokenizer.json")).model;
  const said = policy().locator(".tokens-read");
  const check = async (k) => {
    const [, token, id, place, of] = (await said.innerText()).match(/^“(.*)” is id (\d+), token (\d+) of (\d+)$/);
    assert.deepEqual([Number(place), Number(of), token], [k + 1, pieces.length, pieces[k].trim()]);
    assert.equal(vocab[id][0], pieces[k].replace(" ", "▁"));
  };
  const umbrella = pieces.findIndex((piece) => piece.includes("umb") || piece.includes("umbrella"));
  await list.getByRole("option").nth(umbrella).hover();
  await check(umbrella);
  await list.getByRole("option").nth(umbrella).click();
  await page.keyboard.press("ArrowRight");
  await check(umbrella + 1);
  await idle(page);
  nothingWrong(wrong);
});

/** The two summaries side by side: with the adapter, and without. */
const side = (place) => policy().locator(".side").nth(place);
// Playwright's own textContent() makes one space of two.
const said = (place) => side(place).locator(".said").evaluate((one) => one.textContent);

/** Writes with a seed and returns the text, and the texts that were seen on the way. */
async function write(seed) {
  await type(policy(), "Seed", String(seed));
  const seen = await watch(side(0).locator(".said"));
  await button(policy(), "Write a summary").click();
  await idle(here.page);
  return { text: await said(0), seen: await seen() };
}

test("2.1: a summary comes token by token; the same seed gives the same again, another seed another", async () => {
  const { wrong } = here;
  const [initial] = run.written;
  await policy().getByLabel("The dialogue, or one of your own").fill(initial.dialogue);
  await idle(here.page);
  const first = await write(initial.seed);
  assert.equal(await side(0).locator(".source").innerText(), "live");
  assert.equal(first.text, initial.text, "the recorded seed gives the recorded text here as well");
  const growing = first.seen.slice(first.seen.indexOf("") + 1);
  assert.ok(growing.length >= initial.tokens.length / 2, `seen on the way: ${JSON.stringify(growing)}`);
  for (const [i, text] of growing.slice(1, -1).entries()) assert.ok(text.startsWith(growing[i]), `${text} after ${growing[i]}`);
  const other = await write(initial.seed + 1);
  assert.notEqual(other.text, first.text);
  assert.equal((await write(initial.seed)).text, first.text);
  nothingWrong(wrong);
});

/** The alternatives at a position: token, whether it was chosen, probability. */
const candidates = (place) => side(place).getByRole("table", { name: /^The most probable tokens here/ }).locator("tbody tr")
  .evaluateAll((rows) => rows.map((row) => ({
    token: row.querySelector(".chip").textContent, chosen: /chosen$/.test(row.cells[0].innerText),
    probability: row.cells[1].innerText,
  })));

test("2.1: every position of a summary shows the alternatives with their probabilities", async () => {
  const { page, wrong } = here;
  const [initial] = run.written;
  const tokens = side(0).getByRole("listbox", { name: "Tokens of the summary" }).getByRole("option");
  assert.equal(await tokens.count(), initial.tokens.length);
  await tokens.first().click();
  for (const [k, { top, logprob }] of initial.tokens.slice(0, 6).entries()) {
    if (k > 0) await page.keyboard.press("ArrowRight");
    const rows = await eventually(`place ${k + 1}`, () => candidates(0), (all) => all.filter((row) => row.chosen).length === 1);
    const chosen = rows.find((row) => row.chosen);
    assert.equal(chosen.token, (await tokens.nth(k).innerText()).trim());
    // Browser and recording are the same numbers, but for the order in which they are added up.
    const slack = (p) => 1e-3 * p;
    shows(chosen.probability, Math.exp(logprob), `the token chosen at ${k + 1}`, slack(Math.exp(logprob)));
    top.forEach(({ probability: p }, i) => shows(rows[i].probability, p, `place ${k + 1}, candidate ${i + 1}`, slack(p)));
    assert.ok(rows.reduce((sum, row) => sum + value(row.probability), 0) <= 1.001);
  }
  await policy().getByLabel("always the most probable token").check();
  await button(policy(), "Write a summary").click();
  await idle(page);
  await tokens.first().click();
  for (let k = 0; k < 5; k += 1, await page.keyboard.press("ArrowRight")) {
    assert.ok((await candidates(0))[0].chosen, `the most probable is taken at ${k + 1}`);
  }
  await policy().getByLabel("always the most probable token").uncheck();
  nothingWrong(wrong);
});

test("2.1: with and without the adapter, side by side, and the size of the adapter", async () => {
  const { page, wrong } = here;
  const of = (adapter) => run.written.find((one) => one.adapter === adapter);
  await type(policy(), "Seed", String(of("off").seed));
  await button(policy(), "With and without the adapter").click();
  await idle(page);
  assert.deepEqual(await Promise.all([said(0), said(1)]), [of("initial").text, of("off").text]);
  assert.notEqual(await said(0), await said(1));
  assert.deepEqual(await sources(policy()), ["live", "live"]);

  const config = JSON.parse(shipped("models/adapter/adapter_config.json"));
  const lora = tensors("models/adapter/adapter_model.safetensors").filter(([name]) => /lora_[AB]/.test(name));
  const base = tensors("models/policy/model.safetensors");
  const says = async (is, expected) => shows(await symbol(policy(), is).innerText(), expected, is);
  await says("rank of A and B", config.r);
  await says("scales the adapter's contribution", config.lora_alpha);
  await says("scaling factor", config.lora_alpha / config.r);
  await says("weights of all A and B", weights(lora));
  await says("frozen weights", weights(base));
  const layers = await unfold(policy(), "layers with an adapter");
  assert.equal(await layers.getByRole("listitem").count(), lora.length / 2);
  assert.match(await layers.locator("summary").innerText(), new RegExp(`\\b${lora.length / 2} layers`));
  nothingWrong(wrong);
});

const card = () => reward().getByRole("table", { name: "What the reward model says" });
const words = () => reward().getByRole("list", { name: /^Each word, and by how much the score changes/ }).getByRole("listitem");
/** What the card says of a text, once it is about that text. */
async function judged(text, ask) {
  await ask();
  await idle(here.page);
  assert.equal(await reward().locator("blockquote").innerText(), text);
  const [[, nothate, p], [, hate, q]] = await cells(card());
  const [score, toxic] = await reward().locator(".score-line strong").allInnerTexts();
  return { nothate, hate, p, q, score, toxic };
}
const score = (text) => judged(text, async () => {
  await reward().getByLabel("Text to be scored").fill(text);
  await button(reward(), "Score it").click();
});

test("2.2: a text's logits, probabilities and score belong together, and a word does what its number says", async () => {
  const { wrong } = here;
  const text = "Tom says that the stupid idea of Anna is terrible and that he goes home.";
  const whole = await score(text);
  assert.deepEqual(await sources(reward()), ["live"]);
  const p = 1 / (1 + Math.exp(value(whole.hate) - value(whole.nothate)));
  shows(whole.p, p, "P(nothate) by softmax", 5e-5);
  shows(whole.q, 1 - p, "P(hate) by softmax", 5e-5);
  assert.deepEqual([whole.score, whole.toxic], [whole.nothate, whole.q]);

  const effects = await words().evaluateAll((all) => all.map((one) => [...one.children].map((part) => part.textContent.trim())));
  assert.deepEqual(effects.map(([word]) => word), text.split(" "));
  for (const word of ["stupid", "terrible"]) {
    const [, change] = effects.find(([one]) => one === word);
    const without = await score(text.replace(` ${word}`, ""));
    shows(change, value(without.score) - value(whole.score), `what "${word}" does`, 1e-4);
  }
  nothingWrong(wrong);
});

test("2.2: the lab's two sentences have their scores here, and the published reading takes the wrong label", async () => {
  const { wrong } = here;
  const table = await cells(reward().getByRole("region", { name: "The lab's two sentences" }));
  const fault = table.filter(([, model]) => model === "on this page");
  for (const [i, [name, expected]] of [["The lab's mild sentence", 3.180], ["The lab's harsh sentence", -2.915]].entries()) {
    const text = run.judged[i].text;
    const live = await judged(text, () => button(reward(), name).click());
    assert.ok(Math.abs(value(live.score) - expected) < 0.001, `${name}: ${live.score}, expected about ${expected}`);
    const [, , nothate, hate, right, read] = fault[i];
    shows(nothate, value(live.nothate), `${name}: nothate`, 5e-5);
    shows(hate, value(live.hate), `${name}: hate`, 5e-5);
    assert.equal(value(right), value(nothate));
    assert.equal(value(read), value(expected > 0 ? nothate : hate));
  }
  nothingWrong(wrong);
});

test("2.3: a few dialogues are measured, with progress; mean, standard deviation, histogram and list belong together", async () => {
  const { page, wrong } = here;
  const n = 4; // fewer than the list of the most toxic holds, so that all of them are listed
  await type(toxicity(), "Dialogues", String(n));
  const seen = await watch(toxicity().locator(".try"));
  await button(toxicity(), "Measure").click();
  await line(page).getByText(/^Measuring toxicity/).first().waitFor();
  await idle(page);
  const counts = (await seen()).map((text) => /Measuring toxicity.*?(\d+) of (\d+)/.exec(text)?.slice(1).map(Number))
    .filter(Boolean);
  assert.ok(counts.some(([done, of]) => done > 0 && of === n), `progress: ${JSON.stringify(counts)}`);
  assert.deepEqual(await sources(toxicity()), ["live"]);
  const worst = (await toxicity().getByRole("listitem").filter({ hasText: "P(hate)" }).allInnerTexts())
    .map((text) => value(text.match(/P\(hate\) (\S+)/)[1]));
  assert.equal(worst.length, n);
  assert.deepEqual(worst, [...worst].sort((a, b) => b - a));
  const mean = worst.reduce((a, b) => a + b) / n;
  const deviation = Math.sqrt(worst.reduce((sum, p) => sum + (p - mean) ** 2, 0) / n);
  assert.equal(value(await fact(toxicity(), "texts").innerText()), n);
  shows(await fact(toxicity(), "mean P(hate)").innerText(), mean, "mean", 5e-5);
  shows(await fact(toxicity(), "standard deviation").innerText(), deviation, "standard deviation", 1e-4);
  const bars = await cells((await unfold(toxicity(), "As a table")).locator("table"));
  const tenth = (p) => Math.min(9, Math.floor(10 * p));
  assert.deepEqual(bars.map((row) => value(row[1])), bars.map((_, i) => worst.filter((p) => tenth(p) === i).length));
  nothingWrong(wrong);
});

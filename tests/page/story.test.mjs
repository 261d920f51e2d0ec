// The story's beginning: what the page shows before anything is loaded, that nothing leaves the origin, the settings of
// chapter 3.1, and loading with its progress. What loaded models do is story-models' and story-ppo's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chapters, open } from "./harness.mjs";
import { bar, idle, line, loaded } from "./person.mjs";
import {
  button, cells, chapter, eventually, fact, machine, nothingWrong, recorded, shows, slowly, sources, stage, symbol, unfold, value,
} from "./story.mjs";

const here = stage();
const run = recorded();
const last = run.steps.at(-1);

/** Every mark in the chapter says that its numbers are recorded. */
async function isRecorded(where) {
  const all = await sources(where);
  assert.ok(all.length > 0, "nothing says where the numbers are from");
  assert.deepEqual([...new Set(all)], ["recorded"]);
}

test("the recorded run is there at once, and no model is fetched for it", async () => {
  const { browser, server } = here;
  const asked = [];
  const { page, context, wrong } = await open(browser, server.url);
  page.on("request", (request) => asked.push(request.url()));
  await line(page).getByText(/^step \d+ of a recorded run$/).waitFor();
  assert.equal(await line(page).locator(".source").innerText(), "recorded");
  const all = ["set-up", "policy", "reward", "toxicity", "trainer", "ppo", "numbers", "texts", "hacking", "experiments", "take"];
  assert.deepEqual(await chapters(page), all);
  assert.deepEqual(asked.filter((url) => /models\/|safetensors/.test(url)), []);
  nothingWrong(wrong);
  await context.close();
});

test("an inline script and a request to elsewhere are refused", async () => {
  const { browser, server } = here;
  const { page, context, wrong } = await open(browser, server.url);
  const outcome = await page.evaluate(async () => {
    const script = document.createElement("script");
    script.textContent = "window.ranInline = true";
    document.head.append(script);
    const left = await fetch("http://127.0.0.1:9/").then(() => true, () => false);
    return { inline: window.ranInline ?? false, left };
  });
  assert.deepEqual(outcome, { inline: false, left: false });
  // Both are what `wrong` is for, so this also shows that it would have seen them.
  const seen = wrong.splice(0).join("\n");
  assert.match(seen, /inline script[^]*Content Security Policy/i);
  assert.match(seen, /127\.0\.0\.1:9[^]*Content Security Policy/i);
  nothingWrong(wrong);
  await context.close();
});

test("1 Set up: the models in numbers, before they are loaded", async () => {
  const { page, wrong } = here;
  const setUp = chapter(page, "1 Set up");
  const { policy, reward } = run.loaded;
  await setUp.getByRole("rowheader", { name: "reward model" }).waitFor();
  const rows = await cells(setUp.getByRole("region", { name: "The models" }));
  const weights = {
    policy: policy.base_parameters, adapter: policy.adapter_parameters, "value head": policy.value_head_parameters,
    "reward model": reward.parameters,
  };
  assert.deepEqual(rows.map(([name, n]) => [name, value(n)]), Object.entries(weights));
  assert.match(await setUp.getByRole("button", { name: /^Load the models/ }).innerText(), /\d+\.\d\sMB/);
  assert.ok((await sources(setUp)).includes("recorded"));
  assert.match(await fact(setUp, /^Network$/).innerText(), /only to this page's own address/);
  assert.match(await fact(setUp, "Processors").innerText(), /\d/);
  nothingWrong(wrong);
});

test("2.1 Data and policy: a recorded prompt, a summary with and without the adapter, and LoRA in numbers", async () => {
  const { page, wrong } = here;
  const policy = chapter(page, "2.1 Data and policy");
  const [first] = run.written;
  const of = (adapter) => run.written.find((one) => one.adapter === adapter && one.dialogue === first.dialogue);
  assert.equal(await policy.getByLabel("The dialogue, or one of your own").inputValue(), first.dialogue);
  const prompt = policy.getByRole("listbox", { name: "Tokens of the prompt" }).getByRole("option");
  assert.equal(await prompt.count(), first.prompt.length);
  for (const [place, adapter] of [[0, "initial"], [1, "off"]]) {
    const side = policy.locator(".side").nth(place);
    assert.equal(await side.locator(".said").textContent(), of(adapter).text);
    assert.equal(await side.getByRole("option").count(), of(adapter).tokens.length);
  }
  shows(await symbol(policy, "weights of all A and B").innerText(), run.loaded.policy.adapter_parameters, "adapter");
  await isRecorded(policy);
  nothingWrong(wrong);
});

test("2.2 Reward model: a recorded text with logits, probabilities, score and words, and the label-order bug", async () => {
  const { page, wrong } = here;
  const reward = chapter(page, "2.2 Reward model");
  const [mild, harsh] = run.judged;
  const table = await cells(reward.getByRole("table", { name: "What the reward model says" }));
  for (const [row, label] of ["nothate", "hate"].entries()) {
    assert.equal(table[row][0], label);
    shows(table[row][1], harsh.scored.logits[label], `logit of ${label}`);
    shows(table[row][2], harsh.scored.probabilities[label], `probability of ${label}`);
  }
  const words = reward.getByRole("list", { name: "Each word, and by how much the score changes without it" });
  assert.deepEqual(await words.locator(".word-text").allInnerTexts(), harsh.words.map((word) => word.text));
  await isRecorded(reward);

  const sentences = await cells(reward.getByRole("region", { name: "The lab's two sentences" }));
  const fault = sentences.filter(([, model]) => model === "on this page");
  assert.deepEqual(fault.map((row) => row[0]), [mild.text, harsh.text]);
  const [[, , , , mildRight, mildRead], [, , , hate, harshRight, harshRead]] = fault;
  assert.ok(Math.abs(value(mildRight) - 3.180) < 0.001 && Math.abs(value(harshRight) + 2.915) < 0.001, `${mildRight}, ${harshRight}`);
  assert.equal(value(mildRead), value(mildRight), "for a mild text the published lab reads the right logit");
  assert.equal(value(harshRead), value(hate), "for a harsh one it reads the other");
  assert.match(harshRead, /the logit of hate/);
  nothingWrong(wrong);
});

test("2.3 Toxicity: mean, standard deviation, histogram and the most toxic summaries of a recorded evaluation", async () => {
  const { page, wrong } = here;
  const toxicity = chapter(page, "2.3 Toxicity");
  const spread = run.evaluated.numbers.before.toxicity;
  const { all } = spread;
  shows(await fact(toxicity, "mean P(hate)").innerText(), spread.mean, "mean");
  shows(await fact(toxicity, "standard deviation").innerText(), spread.std, "standard deviation");
  assert.equal(value(await fact(toxicity, "texts").innerText()), all.length);
  const bars = await cells((await unfold(toxicity, "As a table")).locator("table"));
  const expected = Array.from({ length: 10 }, (_, i) => all.filter((p) => Math.min(9, Math.floor(10 * p)) === i).length);
  assert.deepEqual(bars.map((row) => value(row[1])), expected);
  const worst = await toxicity.getByRole("listitem").filter({ hasText: "P(hate)" }).allInnerTexts();
  const five = run.evaluated.rows.map((row) => row.toxicity_before).sort((a, b) => b - a).slice(0, 5);
  assert.equal(worst.length, 5);
  worst.forEach((text, i) => shows(text.match(/P\(hate\) (\S+)/)[1], five[i], `the most toxic, place ${i + 1}`));
  await isRecorded(toxicity);
  nothingWrong(wrong);
});

test("3.2 PPO: the recorded charts, their table, a token strip with sums, and twelve stages with numbers", async () => {
  const { page, wrong } = here;
  const ppo = chapter(page, "3.2 PPO");
  const charts = { "Mean score": "ppo/mean_scores", "KL from the reference": "objective/kl", Returns: "ppo/returns/mean",
    "Advantages, whitened": "ppo/policy/advantages_mean", Losses: "ppo/loss/policy", Entropy: "ppo/policy/entropy",
    "Clip fraction": "ppo/policy/clipfrac" };
  const end = run.run.metrics.at(-1);
  for (const [title, key] of Object.entries(charts)) {
    const chart = ppo.getByRole("slider", { name: `${title}, by step` });
    assert.equal(await chart.getAttribute("aria-valuemax"), String(run.run.steps), title);
    const [first] = (await chart.getAttribute("aria-valuetext")).replace(/^step \d+: /, "").split(", ");
    shows(first.match(/\S+$/)[0], end[key], title);
  }
  await unfold(ppo, "All of it as a table");
  const table = await cells(ppo.getByRole("region", { name: "The run, as a table" }));
  assert.deepEqual(table.map((row) => Number(row[0])), run.run.metrics.map((metrics) => metrics.step).reverse());
  assert.ok(table.every((row) => row.length === 10 && row.every((cell) => Number.isFinite(value(cell)))));

  await ppo.getByLabel("of the recorded run").selectOption({ label: `step ${last.step}` });
  const strip = ppo.getByRole("region", { name: "Tokens of a response" });
  await eventually("the last recorded step", () => ppo.innerText(), (text) => text.includes(`Step ${last.step}. Choose`));
  const shown = strip.getByRole("listbox", { name: /^Tokens of the response/ }).getByRole("option");
  assert.equal(await shown.count(), last.responses[0].pieces.length);
  const numbers = await shown.locator(".cell-number").allInnerTexts();
  const advantages = last.grids.advantages;
  numbers.forEach((text, k) => shows(text, advantages.data[k], `advantage of token ${k + 1}`));
  const rows = strip.getByRole("listbox", { name: /^Responses of the batch/ }).getByRole("option");
  assert.equal(await rows.count(), last.responses.length);
  await strip.getByText("batch standard deviation").first().waitFor();
  await isRecorded(ppo);

  const stages = await machine(page).getByRole("button").allInnerTexts();
  assert.deepEqual(stages.map((stage) => Number(stage.match(/^\d+/)[0])), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  stages.forEach((stage) => assert.match(stage.replace(/^\d+\s*\D+/, ""), /\d/, `a number in ${stage}`));
  shows(stages[5].match(/KL (\S+)/)[1], end["objective/kl"], "KL in the machine");
  nothingWrong(wrong);
});

test("3.3 and 3.4: before and after, in recorded numbers and texts, and the command that continues the run", async () => {
  const { page, wrong } = here;
  const numbers = chapter(page, "3.3 Before and after, in numbers");
  const { evaluated } = run;
  const lines = await cells(numbers.getByRole("region", { name: "Before and after, as a table" }));
  const rows = Object.fromEntries(lines.map(([name, ...row]) => [name, row]));
  const [before, after, difference, says] = rows["toxicity, mean"];
  shows(before, evaluated.numbers.before.toxicity.mean, "toxicity before");
  shows(after, evaluated.numbers.after.toxicity.mean, "toxicity after");
  shows(difference, evaluated.numbers.toxicity_difference.mean, "difference");
  assert.ok(says.length > 0 && "ROUGE-1" in rows && Object.keys(rows).length === 12);
  await isRecorded(numbers);

  const texts = chapter(page, "3.4 Before and after, in text");
  const table = texts.getByRole("region", { name: "Summaries before and after" });
  assert.match(await table.innerText(), new RegExp(`1 to 10 of ${evaluated.rows.length}`));
  assert.equal(await table.locator(".compare-row").count(), 10);
  assert.ok(await table.locator("ins").count() > 0 && await table.locator("del").count() > 0);
  await isRecorded(texts);
  assert.match(await chapter(page, "Take it with you").getByText(/^detox-lab train/).innerText(), /--resume/);
  nothingWrong(wrong);
});

test("3.1 Trainer: a setting is changed, refused where it makes no sense, compared between the presets, and reset", async () => {
  const { page, wrong } = here;
  const trainer = chapter(page, "3.1 Trainer");
  const field = (name) => trainer.getByLabel(new RegExp(`^${name}\\b`));
  const hash = () => page.evaluate(() => location.hash);
  const type = async (name, text) => {
    await field(name).fill(text);
    await field(name).press("Tab");
  };
  const { corrected, published } = run.loaded;
  const names = await trainer.locator(".setting").evaluateAll((all) => all.map((one) => one.querySelector("code").textContent));
  assert.deepEqual(names.sort(), Object.keys(corrected).sort());
  for (const about of await trainer.locator(".setting-does").allTextContents()) assert.match(about, /\w{3}.*\. Default \S+/);
  await trainer.getByText("All as in the preset", { exact: true }).waitFor();

  await type("kl_coef", "0.5");
  await trainer.getByText("1 setting changed", { exact: true }).waitFor();
  assert.equal(await symbol(trainer, "the penalty for one nat").innerText(), "0.5");
  assert.match(await hash(), /kl_coef=0\.5/);
  await type("gamma", "2");
  const gamma = trainer.locator(".setting", { has: page.locator("code", { hasText: /^gamma$/ }) });
  await gamma.getByText(/from 0 to 1/).waitFor();
  assert.equal(await field("gamma").getAttribute("aria-invalid"), "true");
  assert.doesNotMatch(await hash(), /gamma/, "what is refused does not reach the run");
  await type("gamma", "0.9");
  await trainer.getByText("2 settings changed", { exact: true }).waitFor();
  assert.equal(await gamma.getByText(/from 0 to 1/).count(), 0);

  const differ = Object.keys(corrected).filter((name) => JSON.stringify(corrected[name]) !== JSON.stringify(published[name]));
  await unfold(trainer, "What differs between the two");
  const rows = await cells(trainer.getByRole("region", { name: "Published and corrected" }));
  assert.deepEqual(rows.map((row) => row[0]).sort(), differ.sort());
  rows.forEach(([name, one, other, why]) => assert.ok(one !== other && why.length > 20, `${name}: ${one}, ${other}, ${why}`));
  await trainer.getByRole("radio", { name: /^published/ }).check();
  await unfold(trainer, "Published or corrected");
  assert.equal(await field("min_length").inputValue(), String(published.min_length));
  assert.match(await hash(), /preset=published/);
  assert.equal(await field("kl_coef").inputValue(), "0.5", "the other preset keeps what was changed");

  await button(trainer, `Back to ${corrected.kl_coef}: kl_coef`).click();
  await trainer.getByText("1 setting changed", { exact: true }).waitFor();
  await button(trainer, "Reset all").click();
  await trainer.getByText("All as in the preset", { exact: true }).waitFor();
  await button(trainer, "Back to the defaults").click();
  await eventually("the corrected preset", () => field("min_length").inputValue(), (text) => text === String(corrected.min_length));
  await eventually("an address without settings", hash, (text) => !text.includes("?"));
  nothingWrong(wrong);
});

/** The load's progress in chapter 1. */
const progress = (page) => chapter(page, "1 Set up").locator(".progress");
const beginLoad = (page) => chapter(page, "1 Set up").getByRole("button", { name: /^Load the models/ }).click();

test("loading shows all bytes and the time left; it can be cancelled, and then done to the end", async (t) => {
  const { browser, server } = here;
  const net = await slowly(server);
  t.after(net.close);
  const { page, context, wrong } = await open(browser, net.url);
  await line(page).getByText(/recorded run$/).waitFor();
  const promised = await chapter(page, "1 Set up").getByRole("button", { name: /^Load the models/ }).innerText();
  net.pace = 3e5;
  await beginLoad(page);
  const progressbar = chapter(page, "1 Set up").getByRole("progressbar", { name: "Loading the models" });
  const seen = [];
  await eventually("some amounts and the time left", async () => {
    const [amounts] = await progressbar.evaluateAll((all) => all.map((one) => one.ariaValueText));
    if (amounts?.includes(" of ") && amounts !== seen.at(-1)) seen.push(amounts);
    return { seen, left: (await progress(page).locator(".progress-left").allInnerTexts()).join() };
  }, ({ seen, left }) => seen.length > 3 && /^about \d.*\ss left$/.test(left));
  const [done, all] = [0, 1].map((i) => seen.map((amounts) => amounts.split(" of ")[i]));
  const bytes = (text) => value(text) * { B: 1, kB: 1e3, MB: 1e6 }[text.match(/[kM]?B$/)[0]];
  const amounts = done.map(bytes);
  assert.deepEqual(amounts, [...amounts].sort((a, b) => a - b), "what is here grows");
  assert.equal(new Set(all).size, 1, `one total from the start: ${all}`);
  assert.ok(promised.endsWith(all[0]), `as the button promised: ${promised}, ${all[0]}`);

  await progress(page).getByRole("button", { name: "Cancel" }).click();
  await idle(page);
  assert.equal(await progress(page).count(), 0);
  await line(page).getByText("recorded", { exact: true }).waitFor();

  net.pace = Infinity;
  await beginLoad(page);
  await loaded(page);
  const files = [...net.asked].filter(([name]) => /^(models\/|dialogues\.jsonl)/.test(name));
  shows(all[0], files.reduce((sum, [, size]) => sum + size, 0) / 1e6, "the total, in MB");
  assert.match(await chapter(page, "1 Set up").innerText(), /in \d[\d.]*\s(s|min)/);
  nothingWrong(wrong);
  await context.close();
});

test("a load on a network that stands still can be cancelled too", async (t) => {
  const { browser, server } = here;
  const net = await slowly(server);
  t.after(net.close);
  const { page, context, wrong } = await open(browser, net.url);
  await line(page).getByText(/recorded run$/).waitFor();
  const file = "models/reward/model.safetensors";
  net.hangs = new RegExp(file);
  await beginLoad(page);
  await eventually("a request that is not answered", async () => net.asked.has(file), (has) => has);
  await progress(page).getByRole("button", { name: "Cancel" }).click();
  const off = () => button(bar(page), "Stop").isDisabled();
  await eventually("the end of the load", off, (ended) => ended, 10);
  nothingWrong(wrong);
  await context.close();
});

// The lab's real models in the page: files that a person chooses, kept in the browser, loaded, used and trained. The shipped
// models stand in for the large ones: they have the same files.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dist } from "./harness.mjs";
import { alerts, at, closeNotices, idle, load, press, save, step } from "./person.mjs";
import { millions } from "./random_models.mjs";
import { button, cells, chapter, eventually, nothingWrong, stage } from "./story.mjs";
import { unpack } from "./zip.mjs";

const here = stage();
const part = () => here.page.locator("#real-models");
const files = (name) => readdirSync(join(dist, "models", name)).map((file) => join(dist, "models", name, file));
const choose = (role, paths) => part().getByLabel(`Files of the ${role}`).setInputFiles(paths);
const policy = "policy (T5)";
const reward = "reward model (RoBERTa)";
const loaded = () => part().getByText("Everything on this page now works with them").waitFor();
const kept = (number) => eventually(`${number} kept models`,
  () => cells(part().getByRole("region", { name: "Models kept in this browser" })), (rows) => rows.length === number);

/** The number of models' folders in the browser's storage, whole or not. */
const stored = () => here.page.evaluate(async () => {
  const models = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
  return (await Array.fromAsync(models.keys())).length;
});

test("the first screen leads to the real models", async () => {
  await here.page.getByRole("button", { name: "how to bring them in" }).click();
  await eventually("the part is in sight", () => part().evaluate((one) => one.getBoundingClientRect().top),
    (top) => top > -50 && top < 600);
});

test("files are chosen, and the page says what they need; the small models go on meanwhile", async () => {
  const { page, wrong } = here;
  await load(page);
  await choose(policy, files("policy"));
  await choose(reward, files("reward"));
  const needs = part().getByRole("region", { name: "What the models need" });
  await needs.waitFor();
  const rows = await cells(needs);
  assert.deepEqual(rows.map((row) => row[row.length - 1]), ["yes", "yes", "yes"]);
  assert.match(await part().innerText(), new RegExp(`Policy: ${millions(join(dist, "models/policy/model.safetensors"))} million parameters`));
  assert.ok(await part().getByRole("radio", { name: "q8_0" }).isChecked());
  nothingWrong(wrong);
});

test("files and folders can be dropped on the fields", async () => {
  const { page, context, wrong } = here;
  const devtools = await context.newCDPSession(page);
  const drop = async (role, paths) => {
    const field = part().getByLabel(`Files of the ${role}`);
    await field.scrollIntoViewIfNeeded();
    const { x, y, width, height } = await field.boundingBox();
    const at = { x: x + width / 2, y: y + height / 2, data: { items: [], files: paths, dragOperationsMask: 1 } };
    for (const type of ["dragEnter", "dragOver", "drop"]) await devtools.send("Input.dispatchDragEvent", { type, ...at });
  };
  const needs = part().getByRole("region", { name: "What the models need" });
  await drop(policy, files("policy"));
  await needs.waitFor();
  await part().getByLabel("whole folders instead of files").check();
  await drop(reward, [join(dist, "models/reward")]);
  await part().getByText(`${files("reward").length} files, `).waitFor();
  await needs.waitFor();
  await part().getByLabel("whole folders instead of files").uncheck();
  // A folder that is dropped as a file cannot be read.
  await drop(policy, [join(dist, "models/policy")]);
  await eventually("a message", () => alerts(page), (all) => all.some(({ hint }) => /whole folders/.test(hint)));
  await closeNotices(page);
  // A field shows what was chosen, and is empty when one begins to choose, so that the same files can be chosen again.
  const field = part().getByLabel(`Files of the ${policy}`);
  for (const time of [1, 2]) {
    await choose(policy, files("policy"));
    await choose(reward, files("reward"));
    await needs.waitFor();
    await idle(page);
    if (time === 1) await part().getByLabel("Policy (T5): hub id or address").fill("google/flan-t5-base");
    await eventually(`the needs, time ${time}`, () => needs.count(), (n) => n === (time === 1 ? 0 : 1));
  }
  const count = () => field.evaluate((one) => one.files.length);
  assert.equal(await count(), files("policy").length);
  const chooser = page.waitForEvent("filechooser");
  await field.click();
  await chooser;
  assert.equal(await count(), 0);
  nothingWrong(wrong);
});

test("they are converted, kept and loaded; the list has them with type and size", async () => {
  const { page, wrong } = here;
  await button(part(), "Keep them in this browser and load them").click();
  await loaded();
  await idle(page);
  const rows = await kept(2);
  assert.deepEqual(rows.map((row) => row.slice(1, 3).join(" ")).sort(), ["policy q8_0", "reward model q8_0"]);
  const size = await part().getByText(/^This page stores .* of at most/).innerText();
  assert.match(size, /of at most [\d.]+\s[MG]B/);
  assert.match(await part().innerText(), /batch_size: 4 \(the lab: 16\)/);
  assert.match(await part().innerText(), /The worker has taken [\d.]+\sMB/);
  nothingWrong(wrong);
});

test("everything works with them: scoring, writing, measuring, a PPO step, the run and the adapter as zips", async () => {
  const { page, wrong } = here;
  await button(chapter(page, "2.2 Reward model"), "The lab's harsh sentence").click();
  await idle(page);
  await button(chapter(page, "2.1 Data and policy"), "Write a summary").click();
  await idle(page);
  const toxicity = chapter(page, "2.3 Toxicity");
  await toxicity.getByLabel("Dialogues", { exact: true }).fill("2");
  await toxicity.getByLabel("Dialogues", { exact: true }).press("Tab");
  await button(toxicity, "Measure").click();
  await idle(page);
  await step(page);
  const run = unpack((await save(page, "Save the run")).bytes);
  const config = JSON.parse(run.get("config.json"));
  assert.deepEqual([config.policy, config.weights, config.adapter, config.ppo.batch_size],
    ["policy from files", "q8_0", null, 4]);
  const adapter = unpack((await save(page, "Save the adapter")).bytes);
  assert.equal(JSON.parse(adapter.get("adapter_config.json")).r, 32);
  assert.deepEqual(await alerts(page), []);
  nothingWrong(wrong);
});

test("after a reload the models are there without their files, and the saved run goes on with them", async () => {
  const { page, wrong } = here;
  await page.reload();
  await part().getByRole("region", { name: "Models kept in this browser" }).waitFor();
  await kept(2);
  await page.getByRole("button", { name: "Continue it" }).click();
  await loaded();
  await at(page, 1);
  await press(page, "Step");
  await at(page, 2);
  nothingWrong(wrong);
});

test("back to the small models and forth; the run of the other models stays saved", async () => {
  const { page, wrong } = here;
  await button(part(), "Back to the small models").click();
  await page.getByText(/^This browser has a saved run: step 2 of/).waitFor();
  await idle(page);
  assert.equal(await part().getByText("Everything on this page now works with them").count(), 0);
  await button(part(), "Load these two").click();
  await loaded();
  await idle(page);
  nothingWrong(wrong);
});

test("wrong and damaged files end in a message, and nothing of them is kept", async () => {
  const { page } = here;
  await choose(reward, files("reward"));
  await choose(policy, files("reward"));
  await eventually("a message", () => alerts(page), (all) => all.some(({ what }) => /config\.json/.test(what)));
  await closeNotices(page);
  const whole = files("policy").filter((file) => !file.endsWith("model.safetensors"));
  const bytes = readFileSync(files("policy").find((file) => file.endsWith("model.safetensors")));
  const buffers = whole.map((file) => ({ name: file.split("/").at(-1), mimeType: "", buffer: readFileSync(file) }));
  buffers.push({ name: "model.safetensors", mimeType: "", buffer: bytes.subarray(0, bytes.length / 2) });
  await choose(policy, buffers);
  await eventually("a message", () => alerts(page), (all) => all.some(({ what }) => /model\.safetensors/.test(what)));
  await closeNotices(page);
  await kept(2);
});

test("a conversion that is cancelled leaves nothing", async () => {
  const { page } = here;
  await choose(policy, files("policy"));
  await choose(reward, files("reward"));
  await part().getByRole("region", { name: "What the models need" }).waitFor();
  await part().getByRole("radio", { name: "f32" }).check();
  await button(part(), "Keep them in this browser and load them").click();
  await button(part(), "Cancel").first().click();
  await eventually("the job has ended", () => part().getByText(/^Converting the models/).count(), (n) => n === 0);
  await eventually("nothing of it is stored", stored, (n) => n === 2);
  await page.reload();
  await part().getByRole("region", { name: "Models kept in this browser" }).waitFor();
  await kept(2);
});

test("models are removed, one and all", async () => {
  const { page, wrong } = here;
  await part().getByRole("button", { name: /^Remove .*\(reward model/ }).click();
  await kept(1);
  await button(part(), "Remove all").click();
  await part().getByRole("region", { name: "Models kept in this browser" }).waitFor({ state: "detached" });
  assert.equal(await stored(), 0);
  nothingWrong(wrong);
});

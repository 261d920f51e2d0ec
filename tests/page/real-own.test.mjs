// What a person brings besides the models: their own dialogues, a classifier whose labels have other names, and adapters as the files
// of a PEFT folder. What a number type costs in accuracy is told.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { dist } from "./harness.mjs";
import { alerts, at, closeNotices, idle, load, press, save, step } from "./person.mjs";
import { policy, reward, shapes } from "./random_models.mjs";
import { button, chapter, dialogues, eventually, nothingWrong, stage } from "./story.mjs";
import { fromSafetensors } from "./torch_file.mjs";
import { unpack } from "./zip.mjs";

const here = stage();
const folder = mkdtempSync(join(tmpdir(), "detox-lab-real-own-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const part = () => here.page.locator("#real-models");
const setUp = () => here.page.locator("section.chapter").first();
const config = async () => JSON.parse(unpack((await save(here.page, "Save the run")).bytes).get("config.json"));

/** Some of the shipped dialogues in another order, as csv with semicolons; two are too short for the lab. */
function csv() {
  const field = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = dialogues().slice(40, 100).reverse().map((d, i) => [d.id, i < 2 ? "#Person1#: Hi." : d.dialogue, d.summary]);
  return Buffer.from(["id;dialogue;summary", ...rows.map((row) => row.map(field).join(";"))].join("\n"));
}

test("own dialogues with the small models: filtered, split, trained on, and back to the shipped ones", async () => {
  const { page, wrong } = here;
  await load(page);
  await setUp().getByLabel("A file of dialogues").setInputFiles({ name: "mine.csv", mimeType: "text/csv", buffer: csv() });
  await setUp().getByText(/^mine\.csv: \d+ dialogues to train on, \d+ held out\. .*left out/).waitFor();
  await idle(page);
  await step(page);
  assert.equal((await config()).data, "mine.csv");
  await setUp().getByLabel("A file of dialogues").setInputFiles({ name: "bad.csv", mimeType: "text/csv", buffer: Buffer.from("a,b\n1,2\n") });
  await eventually("a message", () => alerts(page), (all) => all.some(({ what }) => /bad\.csv/.test(what)));
  await closeNotices(page);
  await button(setUp(), "Back to the shipped dialogues").click();
  await eventually("the shipped ones", () => button(setUp(), "Back to the shipped dialogues").isDisabled(), (off) => off);
  await idle(page);
  await button(chapter(page, "Take it with you"), "Remove the saved run").click();
  await idle(page);
  nothingWrong(wrong);
});

test("labels of other names are chosen, and the loss of accuracy is told", async () => {
  const { page, wrong } = here;
  const chosen = [await policy(join(folder, "policy"), shapes.tinyPolicy), await reward(join(folder, "reward"), shapes.tinyReward, ["toxic", "neutral"])];
  await part().getByLabel("Files of the policy (T5)").setInputFiles(chosen[0]);
  await part().getByLabel("Files of the reward model (RoBERTa)").setInputFiles(chosen[1]);
  await part().getByLabel("The reward model's harmless label").waitFor();
  assert.ok(await button(part(), "Keep them in this browser and load them").isDisabled(), "nobody has said which label is harmless");
  await part().getByLabel("The reward model's harmless label").selectOption("neutral");
  await button(part(), "Keep them in this browser and load them").click();
  await part().getByText("Everything on this page now works with them").waitFor();
  await idle(page);
  await step(page);
  const { reward_labels, data } = await config();
  assert.deepEqual([reward_labels, data], ["neutral,toxic", "tiny"]);
  const told = await part().innerText();
  assert.match(told, /reward model \(neutral,toxic\)/);
  assert.match(told, /log-probs of reference summaries differ from f32 by \d/);
  assert.match(told, /logits of reference summaries differ from f32 by \d/);
  const adapter = JSON.parse(unpack((await save(page, "Save the adapter")).bytes).get("adapter_config.json"));
  assert.equal(adapter.base_model_name_or_path, "policy from files");
  nothingWrong(wrong);
});

test("an adapter opens as the files of its folder, the weights as safetensors or as a torch file", async () => {
  const { page, wrong } = here;
  await button(part(), "Back to the small models").click();
  await idle(page);
  const names = readdirSync(join(dist, "models/adapter"));
  const files = names.map((name) => ({ name, mimeType: "", buffer: readFileSync(join(dist, "models/adapter", name)) }));
  const torch = files.map((file) => file.name === "adapter_model.safetensors"
    ? { name: "adapter_model.bin", mimeType: "", buffer: fromSafetensors(file.buffer) } : file);
  const take = chapter(page, "Take it with you");
  for (const chosen of [files, torch]) {
    await take.getByLabel("A zip file").setInputFiles(chosen);
    await take.getByText(/is open \(r \d+, α \d+\): the next run starts from it/).waitFor();
    await button(take, "Remove the saved run").click();
    await idle(page);
    await press(page, "Step");
    await at(page, 1);
  }
  nothingWrong(wrong);
});

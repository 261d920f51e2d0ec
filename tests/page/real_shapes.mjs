// The whole lab in the page, with models of the real shapes that have random weights: `make test-real`, or
// `node tests/page/real_shapes.mjs [small|base] [q8_0|f16|f32]`. With the real tokenizers and DialogSum's dialogues if they lie
// beside the checkout, otherwise with the shipped ones. Prints the seconds of each part and the memory that the worker has taken;
// the environment variable PICTURE names a file for a picture of the loaded models. Needs dist/ and 1 GB of disk (base: 2 GB).
import { existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { chrome, picture, serve } from "./harness.mjs";
import { alerts, at, idle, press, save } from "./person.mjs";
import { policy, reward, shapes } from "./random_models.mjs";
import { button, chapter } from "./story.mjs";

const [size = "small", weights = "q8_0"] = process.argv.slice(2);
const folder = join(tmpdir(), `detox-lab-real-${process.pid}`);
const data = join(import.meta.dirname, "../../../shared/data");
const beside = (file) => existsSync(join(data, file)) ? join(data, file) : undefined;

const site = await serve();
// The storage of a fresh profile is on disk; of a context without one it is in memory.
const context = await chromium.launchPersistentContext(join(folder, "profile"), chrome());
context.setDefaultTimeout(3_600_000);
try {
  const [policyFolder, rewardFolder] = [`flan-t5-${size}`, "roberta-hate-speech-dynabench-r4-target"].map((name) => join(folder, name));
  await policy(policyFolder, shapes[size], beside("flan-t5-tokenizer/tokenizer.json"));
  await reward(rewardFolder, shapes.roberta, undefined, beside("roberta-tokenizer/tokenizer.json"));
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && console.log(message.text()));
  await page.goto(site.url);
  const part = page.locator("#real-models");
  const timed = async (what, work) => {
    const started = Date.now();
    await work();
    const memory = await part.getByText(/^The worker has taken/).allTextContents();
    console.log(`${what}: ${((Date.now() - started) / 1000).toFixed(1)} s. ${memory.join(" ")}`);
    const faults = await alerts(page);
    if (faults.length) throw new Error(JSON.stringify(faults));
  };
  const pressed = (where, name) => async () => {
    await button(chapter(page, where), name).click();
    await idle(page);
  };
  const toxicity = chapter(page, "2.3 Toxicity");
  const measure = async () => {
    await toxicity.getByLabel("Dialogues", { exact: true }).fill("4");
    await toxicity.getByLabel("Dialogues", { exact: true }).press("Tab");
    await pressed("2.3 Toxicity", "Measure")();
  };
  if (beside("dialogsum/dev.jsonl")) {
    await timed("dialogues", async () => {
      await page.getByLabel("A file of dialogues").setInputFiles(beside("dialogsum/dev.jsonl"));
      await page.getByText(/^dev\.jsonl: \d+ dialogues to train on/).waitFor();
      await idle(page);
    });
  }
  await timed("headers", async () => {
    await part.getByLabel("whole folders instead of files").check();
    await part.getByLabel("Files of the policy (T5)").setInputFiles(policyFolder);
    await part.getByLabel("Files of the reward model (RoBERTa)").setInputFiles(rewardFolder);
    await part.getByRole("region", { name: "What the models need" }).waitFor();
  });
  console.log(await part.getByText(/^Policy: .* million parameters/).innerText());
  console.log(await part.getByRole("region", { name: "What the models need" }).innerText());
  await part.getByRole("radio", { name: weights }).check();
  await timed("converted and loaded", async () => {
    await part.getByRole("button", { name: "Keep them in this browser and load them" }).click();
    await part.getByText("Everything on this page now works with them").waitFor();
    await idle(page);
  });
  await timed("loaded again after a reload", async () => {
    await page.reload();
    await part.getByRole("button", { name: "Load these two" }).click();
    await part.getByText("Everything on this page now works with them").waitFor();
    await idle(page);
  });
  if (process.env.PICTURE) await picture(page, part.getByLabel("Files of the reward model (RoBERTa)"), process.env.PICTURE);
  await timed("a score", pressed("2.2 Reward model", "The lab's harsh sentence"));
  await timed("a summary", pressed("2.1 Data and policy", "Write a summary"));
  await timed("four dialogues measured", measure);
  for (const step of [1, 2]) {
    await timed(`PPO step ${step}`, async () => {
      await press(page, "Step");
      await at(page, step);
    });
  }
  await timed("four dialogues measured", measure);
  let zip;
  await timed("the adapter saved", async () => { zip = await save(page, "Save the adapter"); });
  await timed("the run saved", async () => { await save(page, "Save the run"); });
  await timed("the adapter opened", async () => {
    await page.getByLabel("A zip file").setInputFiles({ name: zip.name, mimeType: "application/zip", buffer: zip.bytes });
    await page.getByText(/is open \(r 32, α 32\)/).waitFor();
    await idle(page);
  });
  await timed("PPO step 1 from this adapter", async () => {
    await press(page, "Step");
    await at(page, 1);
  });
} finally {
  await context.close();
  await site.close();
  rmSync(folder, { recursive: true, force: true });
}

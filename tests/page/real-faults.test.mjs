// Faults with real models: a full storage, models that the browser has removed or damaged, two tabs, workers that end, files that
// do not fit. Each ends in a message, nothing partial is used, and the page works on with what it had.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { dist } from "./harness.mjs";
import { alerts, at, closeNotices, idle, inTheMiddle, load, press } from "./person.mjs";
import { policy as randomPolicy, shapes } from "./random_models.mjs";
import { button, cells, chapter, eventually, stage } from "./story.mjs";
import { pack } from "./zip.mjs";

const folder = mkdtempSync(join(tmpdir(), "detox-lab-real-faults-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const here = stage();
const part = (page = here.page) => page.locator("#real-models");
const files = (name) => readdirSync(join(dist, "models", name)).map((file) => join(dist, "models", name, file));
const list = (page = here.page) => part(page).getByRole("region", { name: "Models kept in this browser" });
const message = (pattern, page = here.page) => eventually(`a message like ${pattern}`, () => alerts(page),
  (all) => all.some(({ what }) => pattern.test(what)), 60);

async function choose(page = here.page) {
  await part(page).getByLabel("Files of the policy (T5)").setInputFiles(files("policy"));
  await part(page).getByLabel("Files of the reward model (RoBERTa)").setInputFiles(files("reward"));
  await part(page).getByRole("region", { name: "What the models need" }).waitFor();
}
const keep = (page = here.page) => button(part(page), "Keep them in this browser and load them").click();
const loaded = (page = here.page) => part(page).getByText("Everything on this page now works with them").waitFor();

/** A text after its length in eight bytes. */
function text(value) {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([size, Buffer.from(value)]);
}

/** The small models still answer. */
async function smallModelsWork() {
  await button(chapter(here.page, "2.2 Reward model"), "The lab's mild sentence").click();
  await idle(here.page);
  assert.equal(await part().getByText("Everything on this page now works with them").count(), 0);
}

test("a full storage: nothing is kept, and the message says what to do", async () => {
  const { context, page, url } = here;
  await load(page);
  const devtools = await context.newCDPSession(page);
  const origin = new URL(url).origin;
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 4_000_000 });
  await choose();
  await keep();
  await message(/storage/);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  assert.match((await alerts(page))[0].hint, /remove models|free some storage/);
  assert.equal(await list().count(), 0);
  await closeNotices(page);
  await smallModelsWork();
});

test("two tabs keep the same models at once: at the end they are whole", async () => {
  const { page, context, url } = here;
  const other = await context.newPage();
  await other.goto(url);
  await choose(other);
  await choose();
  await Promise.all([keep(), keep(other)]);
  const ended = (tab) => eventually("the end", () => part(tab).getByText(/^Converting the models/).count(), (n) => n === 0, 120);
  await Promise.all([ended(page), ended(other)]);
  await Promise.all([idle(page), idle(other)]);
  await other.close();
  await page.reload();
  if (!(await list().isVisible().catch(() => false))) await choose().then(() => keep());
  await list().waitFor();
  if ((await cells(list())).length < 2) {
    await choose();
    await keep();
  } else {
    await button(part(), "Load these two").click();
  }
  await loaded();
  await idle(page);
});

test("a kept file that is damaged is not used", async () => {
  const { page } = here;
  await page.reload();
  await load(page);
  await page.evaluate(async () => {
    const models = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    for await (const folder of models.values()) {
      const file = await folder.getFileHandle("model.gguf");
      const writer = await file.createWritable({ keepExistingData: true });
      await writer.truncate(((await file.getFile()).size / 2) | 0);
      await writer.close();
    }
  });
  await button(part(), "Load these two").click();
  await message(/bytes instead of/);
  await closeNotices(page);
  await smallModelsWork();
});

test("models that the browser has removed meanwhile", async () => {
  const { page } = here;
  await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry("models", { recursive: true }));
  await button(part(), "Load these two").click();
  await message(/does not have the model any more/);
  await closeNotices(page);
  await smallModelsWork();
  await choose();
  await keep();
  await loaded();
});

test("files that cannot be models are refused by name, and what was loaded stays", async () => {
  const { page } = here;
  const llama = join(folder, "llama.gguf");
  const head = Buffer.from([...Buffer.from("GGUF"), 3, 0, 0, 0, ...Array(8).fill(0), 1, ...Array(7).fill(0)]);
  writeFileSync(llama, Buffer.concat([head, text("general.architecture"), Buffer.from([8, 0, 0, 0]), text("llama"), Buffer.alloc(32)]));
  const small = await randomPolicy(join(folder, "small"), { ...shapes.tinyPolicy, vocabulary: 1000 });
  await part().getByLabel("Files of the reward model (RoBERTa)").setInputFiles(files("reward"));
  for (const [chosen, what] of [[[llama], /architecture is llama/], [small, /tokenizer has \d+ tokens, but the model only 1000/]]) {
    await part().getByLabel("Files of the policy (T5)").setInputFiles(chosen);
    await message(what);
    await closeNotices(page);
  }
  await loaded();
});

test("models that are too large are refused from their headers, with what would fit", async () => {
  const large = join(folder, "model.safetensors");
  const config = JSON.parse(readFileSync(join(dist, "models/policy/config.json")));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, tie_word_embeddings: true, vocab_size: 100_000, d_model: 8192 }));
  // Eight matrices of 1.6 GB.
  const shape = [100_000, 8192], size = 2 * shape[0] * shape[1];
  const name = (i) => (i === 0 ? "shared.weight" : `encoder.block.${i}.layer.0.SelfAttention.q.weight`);
  const tensor = (_, i) => [name(i), { dtype: "F16", shape, data_offsets: [i * size, (i + 1) * size] }];
  const header = JSON.stringify(Object.fromEntries(Array.from({ length: 8 }, tensor)));
  writeFileSync(large, text(header));
  truncateSync(large, 8 + header.length + 8 * size); // a file with a hole, which takes no room
  await part().getByLabel("Files of the reward model (RoBERTa)").setInputFiles(files("reward"));
  await part().getByLabel("Files of the policy (T5)").setInputFiles([large, join(folder, "config.json"), join(dist, "models/policy/tokenizer.json")]);
  await part().getByText(/too large for a tab.*choose flan-t5-small/).waitFor();
  assert.ok(await button(part(), "Keep them in this browser and load them").isDisabled());
  const needs = await cells(part().getByRole("region", { name: "What the models need" }));
  assert.ok(needs.every((row) => row.at(-1).startsWith("no")), JSON.stringify(needs));
});

test("an adapter of another base, as a zip and as the files of its folder, ends in a message with both shapes", async () => {
  const { page } = here;
  const other = await randomPolicy(join(folder, "other"), shapes.tinyPolicy);
  await part().getByLabel("Files of the policy (T5)").setInputFiles(other);
  await part().getByRole("region", { name: "What the models need" }).waitFor();
  await keep();
  await part().getByText(/^policy from files 2 and .*now works with them/).waitFor();
  await idle(page);
  const adapter = files("adapter");
  const zip = pack(new Map(adapter.map((file) => [file.split("/").at(-1), readFileSync(file)])));
  const input = chapter(page, "Take it with you").getByLabel("A zip file");
  for (const chosen of [adapter, { name: "adapter.zip", mimeType: "application/zip", buffer: zip }]) {
    await input.setInputFiles(chosen);
    await message(/another base model: .* is \[\d+, \d+\], but the base model needs \[\d+, \d+\]/);
    await closeNotices(page);
    await idle(page);
  }
  await press(page, "Step");
  await at(page, 1);
});

/** Ends the first worker as memory that is used up does, as soon as it hears this word. */
const outOfMemory = (page, word) => page.workers()[0].evaluate((word) => addEventListener("message", ({ data }) => {
  if (data.json?.includes(word)) setTimeout(() => { throw new RangeError("WebAssembly.Memory.grow(): could not allocate memory"); });
}), word);

test("memory used up while training: the models are loaded again, and the run goes on", async () => {
  const { page } = here;
  await outOfMemory(page, '"train"');
  await press(page, "Step");
  await message(/used up its memory/);
  await at(page, 1);
  await loaded();
  await closeNotices(page);
  await press(page, "Step");
  await at(page, 2);
});

test("memory used up while loading: the small models work on", async () => {
  const { page } = here;
  await button(part(), "Back to the small models").click();
  await idle(page);
  await button(chapter(page, "Take it with you"), "Remove the saved run").click();
  await idle(page);
  await outOfMemory(page, '"use"');
  await button(part(), "Load these two").click();
  await message(/used up its memory/);
  await closeNotices(page);
  await smallModelsWork();
});

test("a tab that was hidden and frozen in the middle of a step goes on when it is shown again", async () => {
  const { page, context } = here;
  await press(page, "Step");
  await inTheMiddle(page);
  const devtools = await context.newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  await new Promise((done) => setTimeout(done, Number(process.env.HIDDEN_SECONDS ?? 20) * 1000));
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await at(page, 1);
  assert.deepEqual(await alerts(page), []);
});

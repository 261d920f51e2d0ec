// Faults with real models: a full storage, models that the browser has removed or damaged, two tabs. Each ends in a message, nothing
// partial is used, and the page works on with what it had.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dist } from "./harness.mjs";
import { alerts, closeNotices, idle, load } from "./person.mjs";
import { button, cells, chapter, eventually, stage } from "./story.mjs";

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
  assert.match((await alerts(page))[0].hint, /remove models/);
  assert.equal(await list().count(), 0);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
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

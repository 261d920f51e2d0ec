// The lab's own models in a tab and natively: the same seed gives the same steps, in q8_0 and in f32, and a run may change from
// one to the other. The models are GGUF files that the command line wrote, of small shapes with random weights.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, open, serve } from "./harness.mjs";
import { chapter, detox, files, oneStep, patience, saveRun, stands } from "./lab.mjs";
import { alerts, idle } from "./person.mjs";
import { policy, reward, shapes } from "./random_models.mjs";
import { metricsOf, same, sameSteps } from "./same.mjs";
import { pack, unpack } from "./zip.mjs";

const SEED = 7;
const types = ["q8_0", "f32"];
/** The tab's settings for such models, as far as they differ from the lab's. */
const tab = { batch_size: 4, mini_batch_size: 1, output_min_length: 32, output_max_length: 33 };

let folder, server, browser, page, wrong;
/** Of each number type: the GGUF files, the native run's folder, the zip that the tab saved. */
const of = {};

const part = () => page.locator("#real-models");
const button = (name) => part().getByRole("button", { name, exact: true });
const models = (type) => ["--policy", of[type].policy, "--reward", of[type].reward];

/** Chooses two GGUF files, keeps them in this number type and loads them. */
async function bring(type) {
  await part().getByLabel("Files of the policy (T5)").setInputFiles(of[type].policy);
  await part().getByLabel("Files of the reward model (RoBERTa)").setInputFiles(of[type].reward);
  await part().getByRole("region", { name: "What the models need" }).waitFor();
  await part().getByRole("radio", { name: type, exact: true }).check();
  await button("Keep them in this browser and load them").click();
  await part().getByText(`in ${type}. Everything on this page now works with them.`).waitFor({ timeout: patience.load });
  await idle(page);
}

/** Opens a zip and waits until the run is there. */
async function openRun(name, bytes, step) {
  const take = chapter(page, "Take it with you");
  await take.getByLabel("A zip file").setInputFiles({ name, mimeType: "application/zip", buffer: bytes });
  await take.getByText(`${name} is open`, { exact: true }).waitFor({ timeout: patience.load });
  await stands(page, step);
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "detox-lab-real-native-"));
  await policy(join(folder, "policy"), shapes.tinyPolicy);
  await reward(join(folder, "reward"), shapes.tinyReward);
  await writeFile(join(folder, "tab.json"), JSON.stringify(tab));
  for (const type of types) {
    of[type] = { run: join(folder, `run-${type}`) };
    for (const role of ["policy", "reward"]) {
      of[type][role] = join(folder, `${role}-${type}.gguf`);
      await detox(["quantize", `--${role}`, join(folder, role), "--weights", type, "--out", of[type][role]]);
    }
  }
  server = await serve();
  browser = await launch();
  ({ page, wrong } = await open(browser, server.url, { hash: `#take?seed=${SEED}` }));
});

after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

for (const type of types) {
  test(`three PPO steps in ${type} in the tab are those of the command line`, async (t) => {
    await detox([
      "train", ...models(type), "--data", "tiny", "--weights", type, "--config", join(folder, "tab.json"),
      "--seed", `${SEED}`, "--steps", "3", "--out", of[type].run,
    ]);
    await bring(type);
    // The run of the type before is still saved.
    await chapter(page, "Take it with you").getByRole("button", { name: "Remove the saved run" }).click();
    await idle(page);
    for (const step of [1, 2, 3]) await oneStep(page, step);
    of[type].zip = await saveRun(page);
    const [saved, twin] = [unpack(of[type].zip), await files(of[type].run)];
    const config = (run) => JSON.parse(run.get("config.json"));
    assert.deepEqual(config(saved).ppo, config(twin).ppo, "the same settings");
    assert.equal(config(saved).weights, config(twin).weights);
    sameSteps(t, saved, twin, 1, 3);
  });
}

test("the command that the page shows continues the saved run natively with the same models, as the tab would", async (t) => {
  const command = await chapter(page, "Take it with you").getByText(/^detox-lab train /).innerText();
  const zip = join(folder, "run.zip");
  await writeFile(zip, of.f32.zip);
  const places = { "run.zip": zip, POLICY: of.f32.policy, REWARD: of.f32.reward, 10: "4" };
  const words = command.split(" ").slice(1);
  assert.deepEqual(words.filter((word) => places[word]), ["run.zip", "POLICY", "REWARD", "10"], command);
  await Promise.all([detox(words.map((word) => places[word] ?? word)), oneStep(page, 4)]);
  const native = await files(join(folder, "run"));
  sameSteps(t, unpack(await saveRun(page)), native, 4, 4);
  same(metricsOf(native).slice(0, 3), metricsOf(unpack(of.f32.zip)), "what the tab had done, after the command line went on");
});

test("a run folder made natively and zipped opens in the tab, goes on there, and is still there after a reload", async (t) => {
  const made = await files(of.f32.run);
  // As a run of ten steps that was interrupted after the third.
  made.set("config.json", Buffer.from(JSON.stringify({ ...JSON.parse(made.get("config.json")), steps: 10 })));
  await openRun("mine.zip", pack(new Map([...made].map(([name, bytes]) => [`mine/${name}`, bytes]))), 3);
  await oneStep(page, 4);
  await detox(["train", "--resume", of.f32.run, "--steps", "5"]);
  const native = await files(of.f32.run);
  sameSteps(t, unpack(await saveRun(page)), native, 4, 4);
  await page.reload();
  await page.getByRole("button", { name: "Continue it" }).click();
  await stands(page, 4, patience.load);
  await oneStep(page, 5);
  sameSteps(t, unpack(await saveRun(page)), native, 5, 5);
});

test("nothing went wrong in the page meanwhile", async () => {
  assert.deepEqual(await alerts(page), []);
  assert.deepEqual(wrong, []);
});

// What goes wrong is told, with what to do, and nothing is lost by it: bad files, a worker that is lost, models that do not
// come. Reloads, tabs and good files are keep.test.mjs's.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  alerts, at, bar, choose, closeNotices, differing, idle, inTheMiddle, line, load, loaded, press, runFiles, save, shared, step,
  steps, visit,
} from "./person.mjs";
import { pack, unpack } from "./zip.mjs";

const site = shared({ flaky: true });

/** Waits for one message that something went wrong: it says what, and what to do. Closes it. */
async function told(page, what) {
  await page.getByRole("alert").first().waitFor();
  await idle(page);
  const all = await alerts(page);
  assert.equal(all.length, 1, `one fault, one message: ${JSON.stringify(all)}`);
  assert.match(all[0].what, what);
  assert.match(all[0].hint, /^\p{L}.{7,}[^.]\.$/u, `what to do: "${all[0].hint}"`);
  await closeNotices(page);
  return all[0];
}

test("bad files are refused one by one with what to do, and the run that is open stays as it was", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#take?seed=5" });
  await step(page);
  const good = await save(page, "Save the run");
  const files = unpack(good.bytes);
  const whole = await runFiles(page);
  const config = JSON.parse(files.get("config.json"));
  const changed = (name, bytes) => pack(new Map([...files, [name, Buffer.from(bytes)]]));
  const adapter = (name) => files.get(`checkpoints/step-00001/${name}`);
  const without = (name) => pack(new Map([...files].filter(([file]) => !file.includes(name))));

  const bad = {
    "empty.zip": [Buffer.alloc(0), /not a usable zip/],
    "letter.zip": [Buffer.from("Dear page, this is no zip file.\n"), /not a usable zip/],
    "torn.zip": [good.bytes.subarray(0, good.bytes.length / 2), /not a usable zip/],
    "holiday.zip": [pack(new Map([["beach.txt", Buffer.from("sun")]])), /neither a run .* nor an adapter/],
    "noise.zip": [randomBytes(30e6), /not a usable zip/],
    "large.zip": [changed("config.json", JSON.stringify({ ...config, policy: "google/flan-t5-base" })), /google\/flan-t5-base/],
    "letters-as-settings.zip": [changed("config.json", "{\"ppo\": "), /config\.json/],
    "no-checkpoint.zip": [without("checkpoints/"), /no checkpoint/],
    "torn-weights.zip": [changed("checkpoints/step-00001/adapter_model.safetensors", "torn"), /adapter_model\.safetensors/],
    "torn-optimizer.zip": [changed("checkpoints/step-00001/adam.safetensors", "torn"), /adam\.safetensors/],
    "no-weights.zip": [pack(new Map([["adapter_config.json", adapter("adapter_config.json")]])), /adapter/],
    "adapter-of-another-model.zip": [
      pack(new Map([
        ["adapter_config.json", adapter("adapter_config.json")],
        ["adapter_model.safetensors", narrower(adapter("adapter_model.safetensors"))],
      ])), /shape|fit|model/,
    ],
  };
  for (const [name, [bytes, what]] of Object.entries(bad)) {
    await choose(page, name, bytes);
    await told(page, what).catch((error) => { throw new Error(`${name}: ${error.message}`, { cause: error }); });
    assert.equal(await steps(page), 1, name);
    assert.deepEqual(differing(await runFiles(page), whole), [], `${name}: the run is the same, byte for byte`);
  }
  await step(page); // and can still be trained
  await page.reload();
  await page.getByText(/^This browser has a saved run: step 2 of/).waitFor();
  assert.deepEqual(wrong, []);
});

/** The same tensors with half of their columns, as a smaller model's would be. */
function narrower(safetensors) {
  const length = Number(safetensors.readBigUInt64LE());
  const [head, data] = [JSON.parse(safetensors.subarray(8, 8 + length)), safetensors.subarray(8 + length)];
  const parts = [];
  let at = 0;
  for (const tensor of Object.values(head).filter((one) => one.shape)) {
    tensor.shape[1] /= 2;
    const [from, to] = tensor.data_offsets;
    parts.push(data.subarray(from, (from + to) / 2));
    tensor.data_offsets = [at, at += (to - from) / 2];
  }
  const [text, size] = [Buffer.from(JSON.stringify(head)), Buffer.alloc(8)];
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, ...parts]);
}

test("a worker lost in the middle of a step is reported, and the next one goes on from the last whole step", async (t) => {
  const { page, wrong } = await visit(t, site, { hash: "#ppo?seed=7" });
  await step(page);
  const before = await runFiles(page);
  await press(page, "Step");
  await inTheMiddle(page);
  await crash(page, () => setTimeout(() => {
    // A module whose start function is `unreachable`, as a panic ends.
    const start = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 8, 1, 0, 10, 5, 1, 3, 0, 0, 11];
    new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(start)));
  }));
  const trap = await told(page, /The worker has stopped: .*unreachable/);
  assert.match(trap.hint, /started again.*last complete step/);
  await at(page, 1);
  assert.deepEqual(differing(await runFiles(page), before), [], "it is the run as it was kept");

  await press(page, "Step");
  await inTheMiddle(page);
  await crash(page, () => setTimeout(() => { throw new RangeError("WebAssembly.Memory.grow(): could not allocate memory"); }));
  assert.match((await told(page, /The worker has stopped/)).what, /used up its memory.*Close other tabs/, "memory in words");
  await at(page, 1);
  await step(page);
  assert.deepEqual(wrong, []);
});

/** Throws inside the page's worker, where the engine would, and waits until it is gone. */
async function crash(page, how) {
  const [worker] = page.workers();
  const gone = new Promise((done) => worker.once("close", done));
  await worker.evaluate(how).catch(() => {}); // its answer may go down with it
  await gone;
}

test("a worker that cannot start is reported once and not started for ever; the recorded run stays", async (t) => {
  const wasm = /^worker-\w+_bg\.wasm$/, js = /^worker-[0-9a-f]+\.js$/;
  const faults = [[wasm, { bytes: 5000 }], [wasm, { status: 404 }], [js, { status: 404 }]];
  for (const [broken, fault] of faults) {
    site.rule.of = (path) => (broken.test(path) ? fault : undefined);
    const { page } = await visit(t, site, { hash: "#ppo" });
    await page.getByRole("alert").filter({ hasText: "Recorded only." }).waitFor();
    assert.match((await page.getByRole("alert").allInnerTexts()).join(" "), /Reload the page/);
    for (const name of ["Play", "Step", "Stage"]) {
      assert.ok(await bar(page).getByRole("button", { name, exact: true }).isDisabled(), `${name} can do nothing`);
    }
    assert.match(await line(page).innerText(), /recorded\s+step \d+ of a recorded run/);
    await page.getByRole("listbox", { name: /^Tokens of the response/ }).getByRole("option").first().waitFor();

    site.rule.of = () => undefined;
    await page.reload();
    await load(page);
    assert.deepEqual(await alerts(page), [], "and after a reload all is well");
  }
});

test("models that are missing, cut short or broken off in the middle are told by name, and a second try works", async (t) => {
  const weights = "models/policy/model.safetensors";
  const faults = [
    ["missing", weights, { status: 404 }, /model\.safetensors.*404/],
    ["the server is ill", "models/reward/config.json", { status: 503 }, /reward\/config\.json.*503/],
    ["cut short, as if that were all", weights, { bytes: 100_000 }, /model\.safetensors/],
    ["broken off", weights, { cut: 100_000 }, /model\.safetensors/],
    ["another file in its place", "models/policy/tokenizer.json", { bytes: 3000 }, /tokenizer\.json/],
    ["dialogues cut short", "dialogues.jsonl", { bytes: 5000 }, /dialogues\.jsonl/],
  ];
  const { page } = await visit(t, site);
  for (const [name, file, fault, what] of faults) {
    site.rule.of = (path) => (path === file ? fault : undefined);
    await line(page).getByRole("button", { name: /^Load the models/ }).click();
    await told(page, what).catch((error) => { throw new Error(`${name}: ${error.message}`, { cause: error }); });
    assert.match(await line(page).innerText(), /^\s*recorded/, name);
  }
  // A step asks for the models too: it fails once, not also for want of a run.
  site.rule.of = (path) => (path === weights ? { status: 404 } : undefined);
  await press(page, "Step");
  await told(page, /model\.safetensors.*404/);

  site.rule.of = () => undefined;
  await load(page);
  await step(page);
  assert.deepEqual(await alerts(page), []);
});

test("loading can be cancelled and begun again, and nothing that waited for it is a fault", async (t) => {
  const { page, wrong } = await visit(t, site);
  let release;
  const hold = new Promise((done) => { release = done; });
  site.rule.of = (path) => (path === "models/reward/model.safetensors" ? { hold } : undefined);
  for (const begin of [() => line(page).getByRole("button", { name: /^Load the models/ }).click(), () => press(page, "Step")]) {
    await begin();
    await line(page).getByText(/^\d[\d.]*\s(k|M)B of [\d.]+\sMB$/).waitFor(); // bytes so far, and in all
    await line(page).getByRole("button", { name: "Cancel", exact: true }).click();
    await idle(page);
    assert.deepEqual(await alerts(page), [], "what one asked for is no fault");
  }
  release();
  site.rule.of = () => undefined;
  await line(page).getByRole("button", { name: /^Load the models/ }).click();
  await loaded(page);
  assert.deepEqual(wrong, []);
});

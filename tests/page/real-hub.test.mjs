// Real models from the hub and from another server: what they will need, downloads that are interrupted and continued, and every
// fault a server can have. Each ends in a clear message, nothing half-written is taken for whole, and the page works on with what
// it had. The shipped models stand in for the large ones; hub.mjs plays the servers.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { dist, launch, open, serve } from "./harness.mjs";
import { SCHOOL, folder, sharded, startHub } from "./hub.mjs";
import { alerts, closeNotices, idle, load } from "./person.mjs";
import { millions } from "./random_models.mjs";
import { button, cells, chapter, eventually } from "./story.mjs";

const POLICY = "google/flan-t5-small";
const REWARD = "facebook/roberta-hate-speech-dynabench-r4-target";
const WEIGHTS = "model.safetensors";
const models = { [POLICY]: folder(join(dist, "models/policy")), [REWARD]: folder(join(dist, "models/reward")) };
const here = {};

before(async () => {
  const repos = { ...models, "google-t5/t5-small": sharded(models[POLICY]) };
  const school = { "lab/policy": sharded(models[POLICY]), "lab/reward": models[REWARD] };
  here.hub = await startHub({ repos, aliases: { "t5-small": "google-t5/t5-small" }, school });
  here.site = await serve();
  here.browser = await launch(here.hub.flags);
});
after(async () => {
  await here.browser?.close();
  await here.site?.close();
  await here.hub?.close();
});
beforeEach(() => here.hub.reset());

const part = (page) => page.locator("#real-models");
const list = (page) => part(page).getByRole("region", { name: "Models kept in this browser" });
/** The rows of the list, once they are so: it is read anew a moment after a download ends. */
const kept = (page, so) => eventually("the list of kept models", () => cells(list(page)).catch(() => []), so);
const partOfPolicy = (rows) => rows.some((row) => row[1] === "policy" && /^[\d.]+\s\w+ of [\d.]+\sMB$/.test(row[3]));
const needs = (page) => part(page).getByRole("region", { name: "What the models need" });
const working = (page) => part(page).getByRole("progressbar");
const loaded = (page) => part(page).getByText("Everything on this page now works with them").waitFor();
const message = (page, pattern, seconds = 60) => eventually(`a message like ${pattern}`, () => alerts(page),
  (all) => all.some(({ what }) => pattern.test(what)), seconds);

/** A page in a profile of its own, in which nothing is kept. */
async function visit(t) {
  const opened = await open(here.browser, here.site.url);
  t.after(() => opened.context.close());
  await part(opened.page).scrollIntoViewIfNeeded();
  return opened;
}

async function ask(page, policy = POLICY, reward = REWARD) {
  await part(page).getByLabel("Policy (T5): hub id or address").fill(policy);
  await part(page).getByLabel("Reward model (RoBERTa): hub id or address").fill(reward);
  await part(page).getByRole("button", { name: /^Ask .* what they need$/ }).click();
}
const download = (page) => button(part(page), "Download, keep and load them").click();
async function bring(page, ...from) {
  await ask(page, ...from);
  await needs(page).waitFor();
  await download(page);
}
const resume = (page) => button(part(page), "Continue the download").click();

/** The small models still answer, and nothing is loaded that is not whole. */
async function smallModelsWork(page) {
  await closeNotices(page);
  await load(page);
  await button(chapter(page, "2.2 Reward model"), "The lab's mild sentence").click();
  await idle(page);
  assert.equal(await part(page).getByText("Everything on this page now works with them").count(), 0);
}

/** Forgets what the forecast read. */
const countFromNow = () => here.hub.sent.clear();

test("no server is asked before the click; then the forecast reads headers only", async (t) => {
  const { page } = await visit(t);
  await load(page);
  assert.deepEqual(here.hub.asked, []);
  await ask(page);
  await needs(page).waitFor();
  assert.equal(await list(page).count(), 0);
  assert.match(await part(page).innerText(), new RegExp(`Download: [\\d.]+\\sMB \\+ [\\d.]+\\sMB\\. Policy: ${millions(join(dist, "models/policy", WEIGHTS))} million parameters`));
  const read = here.hub.sent.get(WEIGHTS).reduce((sum, [from, to]) => sum + to - from, 0);
  assert.ok(read < 300_000, `${read} bytes of the weights`);
  assert.equal(here.hub.preflights, 0);
});

test("the page itself may ask the hub, and no other server", async (t) => {
  const { page } = await visit(t);
  const ask = (url) => page.evaluate((url) => fetch(url).then(() => "answered", () => "refused"), url);
  const refused = page.evaluate(() => new Promise((done) => {
    addEventListener("securitypolicyviolation", (event) => done(event.blockedURI), { once: true });
  }));
  assert.equal(await ask(`https://${SCHOOL}/lab/policy/config.json`), "refused");
  assert.match(await refused, new RegExp(`^https://${SCHOOL}`));
  assert.equal(await ask(`https://huggingface.co/api/models/${POLICY}/revision/main`), "answered");
});

test("from the hub: downloaded, checked, converted, kept with the commit, loaded; the download is gone", async (t) => {
  const { page, wrong } = await visit(t);
  await bring(page);
  await loaded(page);
  await idle(page);
  const rows = await kept(page, (all) => all.length === 2);
  const commit = here.hub.commit(POLICY).slice(0, 8);
  assert.deepEqual(rows.map((row) => row[0]).sort(), [`${REWARD} (${here.hub.commit(REWARD).slice(0, 8)})`, `${POLICY} (${commit})`]);
  const left = await page.evaluate(async () => {
    const all = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    const names = [];
    for await (const model of all.values()) for await (const name of model.keys()) names.push(name);
    return [...new Set(names)].sort();
  });
  assert.deepEqual(left, ["accuracy", "model.gguf", "record.json", "used"]);
  assert.equal(here.hub.preflights, 0);
  assert.deepEqual(wrong.filter((one) => !one.startsWith("request to https://")), []);
  // A second time nothing is downloaded.
  countFromNow();
  await bring(page);
  await eventually("the end", () => working(page).count(), (n) => n === 0);
  await idle(page);
  assert.ok((here.hub.sent.get(WEIGHTS) ?? []).every(([from, to]) => to - from < 300_000));
});

test("an id without an owner, a revision, shards; another server without a list", async (t) => {
  const { page } = await visit(t);
  await bring(page, `t5-small@${here.hub.commit("google-t5/t5-small")}`, `https://${SCHOOL}/lab/reward/`);
  await loaded(page);
  await idle(page);
  const rows = await kept(page, (all) => all.length === 2);
  assert.deepEqual(rows.map((row) => row[0].split(" ")[0]).sort(), ["reward", "t5-small"]);
  await ask(page, `https://${SCHOOL}/lab/policy`, `https://${SCHOOL}/lab/reward`);
  await part(page).getByRole("button", { name: `Ask ${SCHOOL} what they need` }).waitFor();
  await needs(page).waitFor();
  assert.equal(here.hub.preflights, 0);
});

for (const percent of [10, 50, 99]) {
  test(`the connection is lost at ${percent} %: it continues, and nothing is fetched twice`, async (t) => {
    const { page } = await visit(t);
    await ask(page);
    await needs(page).waitFor();
    countFromNow();
    const sizes = [POLICY, REWARD].map((id) => models[id].get(WEIGHTS).length);
    let faults = 1;
    here.hub.fault = (file, host) => host !== "huggingface.co" && file === WEIGHTS && faults-- > 0
      ? { cut: Math.round(sizes[0] * percent / 100) } : undefined;
    await download(page);
    await loaded(page);
    const sent = here.hub.sent.get(WEIGHTS).reduce((sum, [from, to]) => sum + to - from, 0);
    assert.equal(sent, sizes[0] + sizes[1], JSON.stringify(here.hub.sent.get(WEIGHTS)));
    await idle(page);
  });
}

test("the signed address expires on the way: the hub is asked for another one, and the download goes on", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  countFromNow();
  const cut = 4_000_000;
  const signed = () => here.hub.asked.filter((one) => one.startsWith("huggingface.co/") && one.endsWith(`/${WEIGHTS}`)).length;
  const before = signed();
  let answers = 0;
  here.hub.fault = (file, host) => {
    if (host === "huggingface.co" || file !== WEIGHTS) return undefined;
    answers += 1;
    return { 1: { cut }, 2: { status: 403 } }[answers];
  };
  await download(page);
  await loaded(page);
  const parts = here.hub.sent.get(WEIGHTS).map(([from]) => from);
  assert.ok(parts.includes(cut), `continued from bytes ${parts}`);
  assert.equal(signed() - before, 4, "one address for each of the two files, and two more for the one that broke off");
  await idle(page);
});

test("a server without ranges: the file starts again", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  let faults = 1;
  here.hub.fault = (file, host) => host !== "huggingface.co" && file === WEIGHTS
    ? { ranges: false, ...(faults-- > 0 ? { cut: 3_000_000 } : {}) } : undefined;
  await download(page);
  await loaded(page);
  await idle(page);
});

test("a wrong hash: the file is removed, the message says so; continued, it is downloaded again", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  const right = models[POLICY].get(WEIGHTS);
  const wrong = Buffer.from(right);
  wrong[wrong.length - 5] ^= 1;
  // The list of files is of the right file; the CDN sends another one.
  here.hub.fault = (file, host, path) => file === WEIGHTS && host !== "huggingface.co" ? { bytes: wrong } : undefined;
  await download(page);
  await message(page, /model\.safetensors: .*wrong hash/);
  await kept(page, (all) => all.length === 2 && partOfPolicy(all));
  await smallModelsWork(page);
  here.hub.fault = () => undefined;
  await resume(page);
  await loaded(page);
  await idle(page);
});

test("a truncated shard: no end of attempts is taken for the file's end", async (t) => {
  const { page } = await visit(t);
  await bring(page, "t5-small");
  here.hub.fault = (file) => file.endsWith("2-of-00002.safetensors") ? { short: 1_000_000 } : undefined;
  await message(page, /00002-of-00002\.safetensors: .*shorter|00002-of-00002\.safetensors: .*another length/);
  await smallModelsWork(page);
});

test("a reload in the middle: the list shows how much is here, and it continues from there", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  countFromNow();
  here.hub.fault = (file, host) => host !== "huggingface.co" && file === WEIGHTS ? { pace: 60 } : undefined;
  await download(page);
  await eventually("a part is here", () => here.hub.sent.get(WEIGHTS)?.[0]?.[1] ?? 0, (bytes) => bytes > 3_000_000);
  await page.reload();
  here.hub.fault = () => undefined;
  await list(page).waitFor();
  await kept(page, partOfPolicy);
  await resume(page);
  await loaded(page);
  // The other model's file, which is not begun before, starts at 0.
  const later = here.hub.sent.get(WEIGHTS).slice(1).map(([from]) => from).sort((a, b) => a - b);
  assert.ok(later.length === 2 && later[1] > 1_000_000, `continued from bytes ${later}`);
  await idle(page);
});

test("pause and continue; cancel removes what was downloaded", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  countFromNow();
  here.hub.fault = (file, host) => host !== "huggingface.co" && file === WEIGHTS ? { pace: 60 } : undefined;
  await download(page);
  await eventually("a part is here", () => here.hub.sent.get(WEIGHTS)?.[0]?.[1] ?? 0, (bytes) => bytes > 2_000_000);
  await button(part(page), "Pause").click();
  await part(page).getByText("Paused").first().waitFor();
  const before = here.hub.sent.get(WEIGHTS).length;
  await button(part(page), "Continue").click();
  await eventually("it continues", () => here.hub.sent.get(WEIGHTS).length, (n) => n > before);
  assert.ok(here.hub.sent.get(WEIGHTS).at(-1)[0] > 1_000_000);
  await button(part(page), "Cancel").first().click();
  await eventually("the job has ended", () => working(page).count(), (n) => n === 0);
  await idle(page);
  await eventually("nothing is left", () => list(page).count(), (n) => n === 0);
  assert.deepEqual(await alerts(page), []);
});

test("a paused download keeps its number type, and stays when the reading of headers is cancelled", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  countFromNow();
  here.hub.fault = (file, host) => host !== "huggingface.co" && file === WEIGHTS ? { pace: 60 } : undefined;
  await download(page);
  await eventually("a part is here", () => here.hub.sent.get(WEIGHTS)?.[0]?.[1] ?? 0, (bytes) => bytes > 2_000_000);
  await button(part(page), "Pause").click();
  await part(page).getByText("Paused").first().waitFor();
  await part(page).getByRole("radio", { name: "f16" }).check();
  await button(part(page), "Continue").click();
  await eventually("it continues", () => here.hub.sent.get(WEIGHTS).length, (n) => n > 1);
  assert.ok(here.hub.sent.get(WEIGHTS)[1][0] > 1_000_000, "not from the start");
  await button(part(page), "Pause").click();
  await part(page).getByText("Paused").first().waitFor();
  here.hub.fault = () => ({ pace: 60_000 });
  await ask(page);
  await part(page).getByText("Reading the files' headers").first().waitFor();
  await button(part(page), "Cancel").first().click();
  here.hub.fault = () => undefined;
  await page.reload();
  await kept(page, partOfPolicy);
  await resume(page);
  await loaded(page);
  await idle(page);
  const rows = await kept(page, (all) => all.length === 2);
  assert.deepEqual(rows.map((row) => row[2]), ["q8_0", "q8_0"]);
});

test("one model of the hub under several names is kept once", async (t) => {
  const { page } = await visit(t);
  await bring(page);
  await loaded(page);
  await idle(page);
  await bring(page, `https://huggingface.co/${POLICY}/`, `${REWARD}@main`);
  await eventually("the end", () => working(page).count(), (n) => n === 0);
  await idle(page);
  await kept(page, (all) => all.length === 2);
  await list(page).getByRole("button", { name: "Remove" }).first().waitFor();
  assert.equal((await cells(list(page))).length, 2);
});

test("two tabs: the second one says that the first is bringing the model in", async (t) => {
  const { page, context } = await visit(t);
  const other = await context.newPage();
  await other.goto(here.site.url);
  await ask(page);
  await needs(page).waitFor();
  here.hub.fault = (file, host) => host !== "huggingface.co" && file === WEIGHTS ? { pace: 400 } : undefined;
  await download(page);
  await eventually("a part is here", () => here.hub.sent.get(WEIGHTS)?.length ?? 0, (n) => n > 0);
  await bring(other);
  await message(other, /is just being brought in, here or in another tab/);
  // It cannot be removed there either.
  await closeNotices(other);
  await list(other).waitFor();
  await button(part(other), "Remove all").click();
  await other.getByText(/is just being brought in, here or in another tab/).first().waitFor();
  here.hub.fault = () => undefined;
  await loaded(page);
  await closeNotices(other);
  await bring(other);
  await loaded(other);
  await Promise.all([idle(page), idle(other)]);
});

const refusals = [
  ["401: gated or private", { status: 401 }, /without an account/, /accept its terms/],
  ["404", { status: 404 }, /does not have it/, /check the name/],
  ["429", { status: 429, headers: { "retry-after": "1", "access-control-expose-headers": "Retry-After" } }, /asked too often/, /some minutes/],
  ["503", { status: 503 }, /error of its own/, /some minutes/],
];
for (const [name, fault, what, hint] of refusals) {
  test(`${name}: in the list, and in the middle of a download`, async (t) => {
    const { page } = await visit(t);
    here.hub.fault = () => fault;
    await ask(page);
    await message(page, what);
    assert.ok((await alerts(page)).some((one) => hint.test(one.hint)), JSON.stringify(await alerts(page)));
    await closeNotices(page);
    here.hub.fault = () => undefined;
    await ask(page);
    await needs(page).waitFor();
    here.hub.fault = (file) => file === WEIGHTS ? fault : undefined;
    await download(page);
    await message(page, what);
    await smallModelsWork(page);
  });
}

test("a rate limit that passes is waited for", async (t) => {
  const { page } = await visit(t);
  await ask(page);
  await needs(page).waitFor();
  let faults = 2;
  here.hub.fault = (file, host) => host === "huggingface.co" && file === WEIGHTS && faults-- > 0
    ? { status: 429, headers: { "retry-after": "2", "access-control-expose-headers": "Retry-After" } } : undefined;
  await download(page);
  await part(page).getByText(/asked too often.*Trying again in \d+ s/).waitFor();
  await loaded(page);
  await idle(page);
});

test("no network: the message says so, and what was downloaded stays", async (t) => {
  const { page } = await visit(t);
  await load(page);
  here.hub.fault = () => ({ down: true });
  await ask(page);
  await message(page, /no connection/);
  here.hub.fault = () => undefined;
  await closeNotices(page);
  await ask(page);
  await needs(page).waitFor();
  let broken = 0;
  here.hub.fault = (file, host) => {
    if (host === "huggingface.co" || file !== WEIGHTS) return undefined;
    broken += 1;
    return broken === 1 ? { cut: 3_000_000 } : { down: true };
  };
  await download(page);
  await message(page, /no connection/);
  await kept(page, partOfPolicy);
  await closeNotices(page);
  here.hub.fault = () => undefined;
  await resume(page);
  await loaded(page);
  await idle(page);
});

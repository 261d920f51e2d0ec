// What a person does with the page, in one word each: load, step, save, open a file; and a server that fails on request.
// What should come of it is the tests' own; the browser and the plain server are harness.mjs's.
import { readFile } from "node:fs/promises";
import { after, before, beforeEach } from "node:test";
import { host, launch, open, serve } from "./harness.mjs";
import { unpack } from "./zip.mjs";

/** Loading and a step take seconds; a busy machine may need many. */
export const PATIENCE = 300_000;

/**
 * One server and one browser for the tests of a file: `url`, `browser`, `server`. With `flaky` the pages come from a server
 * that fails as `rule.of` says, which is reset before every test. What `ready` returns is added.
 */
export function shared({ flaky: fails = false, ready } = {}) {
  const here = {};
  before(async () => {
    here.server = await serve();
    const from = fails ? await flaky(here.server) : here.server;
    Object.assign(here, { url: from.url, rule: from.rule, close: from.close, browser: await launch() });
    Object.assign(here, await ready?.(here));
  });
  beforeEach(() => { if (fails) here.rule.of = () => undefined; });
  after(async () => {
    await here.browser?.close();
    await here.close?.();
    if (fails) await here.server?.close();
  });
  return here;
}

/** A page of its own for one test, closed after it however it ends; `url`: another address than the site's. */
export async function visit(t, here, { url = here.url, ...options } = {}) {
  const opened = await open(here.browser, url, options);
  t.after(() => opened.context.close());
  return opened;
}

/** The run's controls. */
export const bar = (page) => page.getByRole("group", { name: "The run", exact: true });
/** The line that says what is going on. */
export const line = (page) => page.locator(".status");
export const press = (page, name) => bar(page).getByRole("button", { name, exact: true }).click();

/** Waits until nothing is worked on or waits for its turn: there is nothing to stop. */
export async function idle(page) {
  await page.waitForFunction(() => {
    const bar = document.querySelector('[role="group"][aria-label="The run"]');
    return [...bar.querySelectorAll("button")].find((button) => button.textContent.trim() === "Stop").disabled;
  }, undefined, { timeout: PATIENCE, polling: 50 });
}

/** Loads the models, as the button in the status line offers it. */
export async function load(page) {
  await line(page).getByRole("button", { name: /^Load the models/ }).click();
  await loaded(page);
}

export async function loaded(page) {
  await page.getByRole("button", { name: "Loaded", exact: true }).waitFor({ timeout: PATIENCE });
  await idle(page);
}

/** PPO steps of the live run; 0 while the page shows the recorded one. */
export async function steps(page) {
  const text = await line(page).innerText();
  return /^\s*live/.test(text) ? Number(/step (\d+) of/.exec(text)[1]) : 0;
}

/** Waits for that step of the live run, and for the end of all work. */
export async function at(page, n) {
  await line(page).getByText(new RegExp(`^step ${n} of \\d+$`)).waitFor({ timeout: PATIENCE });
  await idle(page);
}

/** One PPO step; loads the models and begins a run where that has not been done. */
export async function step(page) {
  const before = await steps(page);
  await press(page, "Step");
  await at(page, before + 1);
}

/** Waits until a step is being computed, and a part of it is done. */
export async function inTheMiddle(page) {
  const parts = /^Training: (writing responses|scoring|log-probs and values|reference log-probs|mini-batches)$/;
  await line(page).getByText(parts).waitFor({ timeout: PATIENCE });
}

/** What the page gives to keep when this button is pressed: its name and bytes. */
export async function save(page, button) {
  const coming = page.waitForEvent("download", { timeout: PATIENCE });
  const refused = page.getByRole("alert").first().waitFor({ timeout: PATIENCE });
  for (const other of [coming, refused]) other.catch(() => {}); // the page may go before the other one comes
  await page.getByRole("button", { name: button, exact: true }).click();
  const download = await Promise.race([coming, refused]);
  if (!download) throw new Error(`"${button}" gives no file, but: ${JSON.stringify(await alerts(page))}`);
  const bytes = await readFile(await download.path());
  await idle(page);
  return { name: download.suggestedFilename(), bytes };
}

/** The run that the page gives to keep, as files, without those that hold the clock's times. */
export async function runFiles(page) {
  const { bytes } = await save(page, "Save the run");
  return new Map([...unpack(bytes)].filter(([name]) => !/^(timings\.jsonl|events\.out\.tfevents\..*)$/.test(name)));
}

/** The names of files that two folders do not share, byte for byte. */
export function differing(a, b) {
  const names = new Set([...a.keys(), ...b.keys()]);
  return [...names].filter((name) => !a.has(name) || !b.has(name) || !a.get(name).equals(b.get(name))).sort();
}

/** Chooses a file for the page to open, and waits until it is done with it. */
export async function choose(page, name, bytes) {
  await page.getByLabel("A zip file").setInputFiles({ name, mimeType: "application/zip", buffer: Buffer.from(bytes) });
  await idle(page);
}

/** The offer to go on with what this browser kept. */
export const kept = (page) => page.getByText(/^This browser has a saved run: step \d+ of \d+/);

/** What the page says went wrong, with what to do: `{what, hint}` each. */
export const alerts = (page) => page.getByRole("alert").evaluateAll((all) => all.map((one) => {
  const hint = one.querySelector(".hint")?.textContent.trim() ?? "";
  return { what: one.textContent.replace(hint, "").trim(), hint };
}));

export async function closeNotices(page) {
  const close = page.getByRole("button", { name: "Close this notice" });
  while (await close.count()) await close.first().click();
}

/** The metrics of the run as the page shows them, a row a step, the newest first. */
export async function table(page) {
  const fold = page.locator("details", { has: page.getByText("All of it as a table", { exact: true }) });
  await fold.evaluate((details) => { details.open = true; });
  const rows = page.getByRole("region", { name: "The run, as a table" }).getByRole("row");
  return rows.evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join(" | ")));
}

/** Adds up what an aria-live region has said: call it before, then `said()`. */
export async function listen(page) {
  await page.evaluate(() => {
    window.saidToAll = [];
    const note = (records) => records.forEach(({ target }) => {
      const element = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
      const text = element?.closest('[aria-live], [role="status"], [role="alert"]')?.textContent.trim();
      if (text && window.saidToAll.at(-1) !== text) window.saidToAll.push(text);
    });
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  return { said: () => page.evaluate(() => window.saidToAll) };
}

/**
 * The same site behind a server that fails where `rule.of(path)` says so: `{status}`, `{bytes}` (only so many, as if that
 * were all), `{cut}` (the connection breaks after so many), `{down}` (no answer at all) or `{hold}` (a promise to wait for).
 */
async function flaky(site) {
  const rule = { of: () => undefined };
  const base = new URL(site.url).pathname;
  const server = await host(base, async (request, response) => {
    const fault = rule.of(request.url.slice(base.length)) ?? {};
    await fault.hold;
    if (fault.down) return request.socket.destroy();
    if (fault.status) return response.writeHead(fault.status, { "content-type": "text/plain" }).end("no");
    const answer = await fetch(new URL(request.url, site.url));
    const whole = Buffer.from(await answer.arrayBuffer());
    const body = whole.subarray(0, fault.bytes ?? whole.length);
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type"), "content-length": body.length });
    if (fault.cut === undefined) return response.end(body);
    // Only what has left this process can break off on its way.
    return response.write(body.subarray(0, fault.cut), () => setTimeout(() => response.destroy(), 50));
  });
  return { ...server, rule };
}

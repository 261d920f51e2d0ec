// What the story's tests share: how a reader finds things in a chapter, reads numbers off it, and waits. What a person
// does with the run is person.mjs's, server and browser are harness.mjs's, what should be there is the tests' own.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dist, host, open } from "./harness.mjs";
import { PATIENCE, shared } from "./person.mjs";

/** A file of this build, as text: what the page shows is held against what it ships. */
export const shipped = (name, encoding = "utf8") => readFileSync(join(dist, name), encoding);
export const recorded = () => JSON.parse(shipped("recorded/page.json"));
export const dialogues = () => shipped("dialogues.jsonl").trim().split("\n").map((text) => JSON.parse(text));

/** One server and one browser for a file's tests, and one page that stays open from test to test. */
export function stage(options = {}) {
  return shared({ ready: ({ browser, url }) => open(browser, url, options) });
}

export const chapter = (page, name) => page.getByRole("region", { name, exact: true });
export const button = (where, name) => where.getByRole("button", { name, exact: true });
export const machine = (page) => page.getByRole("navigation", { name: "The stages of one PPO step" });
/** Where a chapter's numbers are from, each "recorded" or "live". */
export const sources = (where) => where.locator(".source").allInnerTexts();
/** What stands beside a symbol of a formula, found by what the symbol is. */
export const symbol = (where, is) => where.locator(".term").filter({ hasText: is }).locator(".term-now");
/** A number under its name: what stands in the `dd` after this `dt`. */
export const fact = (where, name) =>
  where.locator("dl > div").filter({ has: where.page().locator("dt", { hasText: name }) }).locator("dd");
/** The cells of a table's body, row by row. */
export const cells = (table) =>
  table.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));

/** Opens what is folded up below this summary. */
export async function unfold(where, summary) {
  const fold = where.locator("details", { has: where.page().locator("summary", { hasText: summary }) }).last();
  if (await fold.getAttribute("open") === null) await fold.locator("summary").click();
  return fold;
}

const POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A number as the page writes it (true minus, thousands, powers of ten), and how much its rounding hides at most. */
export function number(text) {
  const found = text.match(/([+−]?)(\d[\d,]*(?:\.(\d+))?)(?:·10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?/);
  assert.ok(found, `no number in "${text}"`);
  const [, sign, digits, decimals = "", below, power = ""] = found;
  const exponent = Number([...power].map((digit) => POWERS.indexOf(digit)).join("")) * (below ? -1 : 1);
  const value = Number(`${digits.replaceAll(",", "")}e${exponent}`);
  return { value: sign === "−" ? -value : value, hidden: 0.5 * 10 ** (exponent - decimals.length) };
}
export const value = (text) => number(text).value;

/** That a text on the page is this number, as far as its digits go; `slack` where the number is itself made of rounded ones. */
export function shows(text, expected, what, slack = 0) {
  const { value, hidden } = number(text);
  const tolerance = hidden * 1.001 + slack + Math.abs(expected) * 1e-6; // the engine's numbers are 32 bits wide
  assert.ok(Math.abs(value - expected) <= tolerance, `${what}: the page shows "${text}", expected ${expected}`);
}

/** Reads again and again until it `holds`, and returns what was read; fails with what was there last. */
export async function eventually(what, read, holds, seconds = PATIENCE / 1000) {
  const end = Date.now() + 1000 * seconds;
  for (;;) {
    const last = await read();
    if (holds(last)) return last;
    if (Date.now() > end) assert.fail(`${what}: not within ${seconds} s; last seen: ${JSON.stringify(last)}`);
    await new Promise((done) => setTimeout(done, 30));
  }
}

/** Notes an element's text at every change from now on; the function returned gives the texts in order. */
export async function watch(locator) {
  await locator.evaluate((element) => {
    element.noted = [element.textContent];
    const note = () => element.textContent !== element.noted.at(-1) && element.noted.push(element.textContent);
    new MutationObserver(note).observe(element, { subtree: true, childList: true, characterData: true });
  });
  return () => locator.evaluate((element) => element.noted);
}

/**
 * The same site on a slow network: the models come at `net.pace` bytes a second, and what `net.hangs` names not at all.
 * `net.asked` has the size of every file that was asked for. At the server, because the page's service worker fetches too.
 */
export async function slowly(site) {
  const net = { pace: Infinity, hangs: undefined, asked: new Map() };
  const base = new URL(site.url).pathname;
  const server = await host(base, async (request, response) => {
    const name = request.url.slice(base.length);
    const answer = await fetch(new URL(request.url, site.url));
    const body = Buffer.from(await answer.arrayBuffer());
    net.asked.set(name, body.length);
    if (net.hangs?.test(name)) return;
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type"), "content-length": body.length });
    for (let at = 0; at < body.length && !response.destroyed;) {
      const part = name.startsWith("models/") && net.pace < Infinity ? Math.ceil(net.pace / 20) : body.length;
      response.write(body.subarray(at, at += part));
      if (at < body.length) await new Promise((done) => setTimeout(done, 50));
    }
    response.end();
  });
  return Object.assign(net, server);
}

/** What must not happen did not: no error, no warning, no request that failed or left the origin. */
export const nothingWrong = (wrong) => assert.deepEqual(wrong, []);

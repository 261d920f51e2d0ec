// What every test of the page needs: a static server, a browser, a page that remembers what went wrong in it. What the
// page should do is the tests' own.
import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const dist = resolve(process.env.DIST ?? join(root, "dist"));

const types = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".wasm": "application/wasm",
  ".json": "application/json", ".jsonl": "application/jsonl", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
};

/** What a host sends that isolates its pages from other origins, so that their workers may share memory. */
export const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** Serves `dist` below a path that is not the root, as project pages do, with these `headers`. Returns its address and `close()`. */
export async function serve(folder = dist, base = "/some/where/", headers = {}) {
  if (!existsSync(join(folder, "index.html"))) throw new Error(`no page in ${folder}: run \`make web\` first, or set DIST`);
  return host(base, async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://x").pathname);
    const name = normalize(path.startsWith(base) ? path.slice(base.length) || "index.html" : "..");
    try {
      if (name.startsWith("..")) throw new Error("outside");
      const body = await readFile(join(folder, name));
      response.writeHead(200, { "content-type": types[extname(name)] ?? "application/octet-stream", "content-length": body.length, ...headers });
      response.end(body);
    } catch {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not here");
    }
  });
}

/** A server on a free port: its address and `close()`. */
export async function host(base, answer) {
  const server = createServer(answer);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () => new Promise((done) => { server.close(done); server.closeAllConnections(); });
  return { url: `http://127.0.0.1:${server.address().port}${base}`, close };
}

/** Debian's Chromium, or the one that CHROME names; `flags`: more of its options. */
export function chrome(flags = []) {
  const names = [process.env.CHROME, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = names.find((name) => name && existsSync(name));
  if (!executablePath) throw new Error("no Chromium here: run scripts/setup.sh browser, or set CHROME");
  // Chromium's own sandbox needs rights that a container's root does not have.
  return { executablePath, args: [...flags, ...process.getuid?.() === 0 ? ["--no-sandbox"] : []] };
}

export const launch = (flags) => chromium.launch(chrome(flags));

/**
 * A fresh profile with one page. `wrong` collects what must not happen: console errors and warnings, exceptions, requests
 * to another origin, failed requests. A test that causes one on purpose takes it out again. `whole`: chapters out of sight are
 * laid out too, as they are once one looks at them; without, innerText and axe find nothing in them.
 */
export async function open(browser, url, options = {}) {
  const { hash = "", width = 1440, height = 900, scheme = "light", reduced = false, touch = false, whole = true } = options;
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, reducedMotion: reduced ? "reduce" : "no-preference", acceptDownloads: true,
    hasTouch: touch, isMobile: touch,
  });
  context.setDefaultTimeout(120_000); // a busy machine is slow, not wrong
  if (whole) {
    await context.addInitScript(() => {
      const inSight = new CSSStyleSheet();
      inSight.replaceSync(".chapter { content-visibility: visible !important; }");
      document.adoptedStyleSheets = [inSight];
    });
  }
  const page = await context.newPage();
  const wrong = [];
  const origin = new URL(url).origin;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`exception: ${error.message}`));
  context.on("request", (request) => {
    const to = request.url();
    if (!to.startsWith(origin) && !/^(blob|data):/.test(to)) wrong.push(`request to ${to}`);
  });
  context.on("response", (response) => {
    if (response.status() >= 400) wrong.push(`${response.status()} ${response.url()}`);
  });
  await page.goto(url + hash);
  await page.locator("main#text").waitFor();
  return { context, page, wrong };
}

/** The page's chapters, by their place in the address. */
export const chapters = async (page) => page.locator("main#text section.chapter").evaluateAll((all) => all.map((one) => one.id));

/** Writes a picture (webp) of the page, from the top of this element on. */
export async function picture(page, element, file, height = 800) {
  const client = await page.context().newCDPSession(page);
  await client.send("Emulation.setDeviceMetricsOverride", { width: 1280, height, deviceScaleFactor: 1.5, mobile: false });
  const show = () => element.evaluate((one) => one.scrollIntoView({ behavior: "instant", block: "start" }));
  await show();
  await page.waitForTimeout(3000); // charts are drawn when they come into sight
  await show();
  const { data } = await client.send("Page.captureScreenshot", { format: "webp", quality: 88 });
  await writeFile(file, Buffer.from(data, "base64"));
}

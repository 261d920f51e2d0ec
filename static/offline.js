// The service worker: keeps what was fetched from this page's folder, for visits without a network. With a network the
// network always answers, so nothing here can be stale; models are kept once they have been loaded. How the page starts
// is start.js's.
const KEPT = "detox-lab";

// Fetched before this worker ruled the page, or by nothing but the page's engine.
const ALWAYS = ["./", "start.js", "worker_start.js", "worker.js", "worker_bg.wasm", "dialogues.jsonl", "recorded/page.json"];

// What trunk built has its hash in its name, which the page alone knows.
const named = (html) => [...html.matchAll(/(?:href|src|data-js|data-wasm)="\.?\/?([\w.-]+\.(?:js|css|wasm|svg))"/g)].map((m) => m[1]);

async function keepAll() {
  const kept = await caches.open(KEPT);
  const page = await fetch("./", { cache: "no-cache" });
  if (!page.ok) throw new Error(`the page answered ${page.status}`);
  await kept.addAll([...new Set([...ALWAYS.slice(1), ...named(await page.clone().text())])]);
  await kept.put("./", page);
}

// Files of older builds go once a newer page has been seen.
async function tidy(html) {
  const now = new Set(named(html));
  const kept = await caches.open(KEPT);
  for (const request of await kept.keys()) {
    const name = new URL(request.url).pathname.split("/").pop();
    if (/-[0-9a-f]{16}(_bg)?\.\w+$/.test(name) && !now.has(name)) await kept.delete(request);
  }
}

async function answer(event) {
  const { request } = event;
  const page = request.mode === "navigate";
  const key = page ? "./" : request.url;
  try {
    const response = await fetch(request);
    if (response.ok && response.type === "basic") {
      const copy = response.clone();
      event.waitUntil(caches.open(KEPT).then(async (kept) => {
        if (page) await tidy(await copy.clone().text());
        await kept.put(key, copy);
      }).catch(() => {})); // no room: the page works, only not without a network
    }
    return response;
  } catch (error) {
    const kept = await (await caches.open(KEPT)).match(key, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(keepAll());
});
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const ours = event.request.method === "GET" && event.request.url.startsWith(registration.scope);
  if (ours) event.respondWith(answer(event));
});

// The service worker: stores files of this page's folder for offline use. With a network, files always come from the
// network, so they are never out of date. Models are stored once they have been loaded.
const KEPT = "detox-lab";

// Files that were fetched before this service worker was active, or that only the engine fetches.
const ALWAYS = [
  "./", "start.js", "dialogues.jsonl", "recorded/page.json", "recorded/leash.json", "recorded/experiments.json", "lesson.md", "math.woff2",
];

// The files with a hash in their names; the page lists them.
const named = (html) => [...html.matchAll(/(?:href|src|data-[\w-]+)="\.?\/?([\w.-]+\.(?:js|css|wasm|svg))"/g)].map((m) => m[1]);

async function keepAll() {
  const kept = await caches.open(KEPT);
  const page = await fetch("./", { cache: "no-cache" });
  if (!page.ok) throw new Error(`the page answered ${page.status}`);
  // A worker with threads is kept when it is used: before this service worker is active, the one without is.
  const now = named(await page.clone().text()).filter((name) => !/^worker_(threads|relaxed)/.test(name));
  await kept.addAll([...new Set([...ALWAYS.slice(1), ...now])]);
  await kept.put("./", page);
}

// Removes files of older builds when a newer page has been fetched.
async function tidy(html) {
  const now = new Set(named(html));
  const kept = await caches.open(KEPT);
  for (const request of await kept.keys()) {
    const name = new URL(request.url).pathname.split("/").pop();
    if (/-[0-9a-f]{16}(_bg)?\.\w+$/.test(name) && !now.has(name)) await kept.delete(request);
  }
}

// Isolates the page from other origins, so that the browser lets its workers share memory. A host may send these headers, too.
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-embedder-policy", "require-corp");
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

async function answer(event) {
  const { request } = event;
  const page = request.mode === "navigate";
  const response = await found(event, request, page);
  return response.type === "basic" && (page || request.destination === "worker") ? isolated(response) : response;
}

async function found(event, request, page) {
  const key = page ? "./" : request.url;
  try {
    const response = await fetch(request);
    if (response.ok && response.type === "basic") {
      const copy = response.clone();
      event.waitUntil(caches.open(KEPT).then(async (kept) => {
        if (page) await tidy(await copy.clone().text());
        await kept.put(key, copy);
      }).catch(() => {})); // storage is full: the page works, but not offline
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
  // A request for a range is a download of a large model, which this page keeps elsewhere.
  const { method, url, headers } = event.request;
  const ours = method === "GET" && url.startsWith(registration.scope) && !headers.has("range");
  if (ours) event.respondWith(answer(event));
});

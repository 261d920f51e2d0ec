// Starts the page: sets the theme before the first paint, then loads the WebAssembly. This is a file, because the page
// allows no inline script. Trunk writes the names of the files into this script's element (Trunk.toml, pattern_script).
const { js, wasm, worker } = document.currentScript.dataset;
// The page starts the worker, with several threads where the browser allows: in a page that is isolated from other origins, which
// offline.js or the host's headers see to. `?threads=1` in the page's address asks for another number, `?relaxed=no` for products
// without relaxed SIMD.
const query = new URLSearchParams(location.search);
const threads = Number(query.get("threads") ?? navigator.hardwareConcurrency) || 1;
document.documentElement.dataset.worker =
  `${worker}#threads=${self.crossOriginIsolated ? Math.min(threads, 4) : 1}&relaxed=${query.get("relaxed") ?? "yes"}`;

let kept = null;
try {
  kept = localStorage.getItem("theme");
} catch {
  // Storage may be forbidden; then the system's theme is used.
}
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.theme = kept ?? (dark ? "dark" : "light");

function fail(what) {
  const note = document.getElementById("starting");
  if (note) note.textContent = what;
}

async function start() {
  // The smallest module with a SIMD instruction: i32.const 0, i8x16.splat, i8x16.popcnt.
  const simd = WebAssembly?.validate?.(
    new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]),
  );
  if (!simd) {
    fail("This browser has no WebAssembly SIMD. Chrome or Edge 91, Firefox 89, Safari 16.4 and newer versions have it.");
    return;
  }
  const address = (name) => new URL(name, document.baseURI).href;
  const { default: init } = await import(address(js));
  await init({ module_or_path: address(wasm) });
}

const begin = () => start().catch((error) => {
  console.error(error);
  fail(`The page did not start: ${error.message ?? error}. Reload it; if that does not help, try another browser.`);
});
// Offline use. An attribute and an event tell the page when all of its files are stored.
if (isSecureContext && navigator.serviceWorker) {
  navigator.serviceWorker.register("offline.js").then(() => navigator.serviceWorker.ready).then(() => {
    document.documentElement.dataset.kept = "";
    dispatchEvent(new Event("kept"));
  }).catch((error) => console.info(`The page is not stored for offline use: ${error.message}`));
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
else begin();

// Starts the worker's WebAssembly, with as many threads as its address asks for (#threads=2) if the browser allows; with threads,
// products use relaxed SIMD if the browser has it, except after #relaxed=no and for a kept run that was begun without. Errors, also
// those in promises, are thrown again at the top level, where the page's `error` listener receives them; the page does not see
// a rejected promise.
import { single, startThreads } from "./threads.js";

const raise = (error) => setTimeout(() => {
  throw error instanceof Error ? error : new Error(String(error));
});
addEventListener("unhandledrejection", (event) => raise(event.reason));

const address = (name) => new URL(name, import.meta.url);

/** The smallest module with an instruction of relaxed SIMD: three times i32.const 0 and i8x16.splat, then f32x4.relaxed_madd. */
const RELAXED = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
  10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11,
]);

/** Whether the run that this browser has kept (src/web/worker/browser.rs) was computed without relaxed SIMD: it continues with
 *  the same numbers. */
const keptWithout = () => new Promise((found) => {
  const opening = indexedDB.open("detox-lab", 1);
  opening.onupgradeneeded = () => opening.transaction.abort(); // there was none
  opening.onerror = () => found(false);
  opening.onsuccess = () => {
    const database = opening.result, reading = database.transaction("files").objectStore("files").get("timings.jsonl");
    reading.onerror = () => found(false);
    reading.onsuccess = () => {
      database.close();
      const last = new TextDecoder().decode(reading.result).trim().split("\n").pop();
      found(last !== "" && JSON.parse(last).kernel !== "relaxed-simd128");
    };
  };
}).catch(() => false); // storage may be forbidden

/** The program for several threads: its JavaScript and WebAssembly. */
const program = (relaxed) => Promise.all(relaxed
  ? [import("./worker_relaxed.js"), WebAssembly.compileStreaming(fetch(address("./worker_relaxed_bg.wasm")))]
  : [import("./worker_threads.js"), WebAssembly.compileStreaming(fetch(address("./worker_threads_bg.wasm")))]);

/** The program and memory for several threads; nothing if one must do. */
async function several(count, relaxed) {
  if (!(count > 1 && self.crossOriginIsolated)) return;
  try {
    const [{ default: init }, module] = await program(relaxed && WebAssembly.validate(RELAXED) && !(await keptWithout()));
    return { init, module, ...await startThreads(count, module) };
  } catch (error) {
    console.info(`The engine uses one thread: ${error.message ?? error}`);
  }
}

/** The browser does not fill shared memory with random numbers. */
function shareRandom() {
  const random = crypto.getRandomValues.bind(crypto);
  crypto.getRandomValues = (array) => {
    if (!(array.buffer instanceof SharedArrayBuffer)) return random(array);
    array.set(random(new array.constructor(array.length)));
    return array;
  };
}

async function start() {
  const asked = new URLSearchParams(self.location.hash.slice(1));
  const threaded = await several(Number(asked.get("threads")), asked.get("relaxed") !== "no");
  globalThis.threads = threaded?.threads ?? single;
  if (threaded) {
    shareRandom();
    await threaded.init({ module_or_path: threaded.module, memory: threaded.memory });
  } else {
    const { default: init } = await import("./worker.js");
    await init({ module_or_path: address("./worker_bg.wasm") });
  }
}

start().catch(raise);

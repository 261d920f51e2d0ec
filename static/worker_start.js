// Starts the worker's WebAssembly, with as many threads as its address asks for (#threads=2) if the browser allows. Errors, also
// those in promises, are thrown again at the top level, where the page's `error` listener receives them; the page does not see
// a rejected promise.
import { single, startThreads } from "./threads.js";

const raise = (error) => setTimeout(() => {
  throw error instanceof Error ? error : new Error(String(error));
});
addEventListener("unhandledrejection", (event) => raise(event.reason));

const address = (name) => new URL(name, import.meta.url);

/** The program and memory for several threads; nothing if one must do. */
async function several(count) {
  if (!(count > 1 && self.crossOriginIsolated)) return;
  try {
    const [{ default: init }, module] = await Promise.all([
      import("./worker_threads.js"), WebAssembly.compileStreaming(fetch(address("./worker_threads_bg.wasm"))),
    ]);
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
  const threaded = await several(Number(/threads=(\d+)/.exec(self.location.hash)?.[1]));
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

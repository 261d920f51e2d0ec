// Starts the worker's WebAssembly. Errors, also those in promises, are thrown again at the top level, where the page's
// `error` listener receives them; the page does not see a rejected promise.
import init from "./worker.js";

const raise = (error) => setTimeout(() => {
  throw error instanceof Error ? error : new Error(String(error));
});
addEventListener("unhandledrejection", (event) => raise(event.reason));
init({ module_or_path: new URL("./worker_bg.wasm", import.meta.url) }).catch(raise);

// Starts the worker's wasm. Whatever goes wrong in it, also in a promise, is thrown again at the top, where the page's
// `error` listener hears it: a rejected promise alone would leave the page waiting.
import init from "./worker.js";

const raise = (error) => setTimeout(() => {
  throw error instanceof Error ? error : new Error(String(error));
});
addEventListener("unhandledrejection", (event) => raise(event.reason));
init({ module_or_path: new URL("./worker_bg.wasm", import.meta.url) }).catch(raise);

// The two sides that bench_real.mjs compares, each in a browser of its own: the page's worker, driven as the page does
// (src/protocol), and transformers.js. Also their models and prompts. profile_real.mjs uses our side.
import { createReadStream, existsSync, readFileSync, readdirSync } from "node:fs";
import { mkdir, readFile, stat } from "node:fs/promises";
import { extname, join, normalize, relative } from "node:path";
import { chromium } from "playwright-core";
import { chrome, dist, host, root } from "./harness.mjs";
import { policy, reward, shapes } from "./random_models.mjs";

/** Tokens of a prompt, and of a response after its first one. */
export const PROMPT = 200, TOKENS = 32;
const made = join(root, "build/bench_real");
const data = join(root, "../shared/data");

// Servers. Both pages are isolated from other origins, because threads need it.
const kinds = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json",
};
/** Serves a folder, and this page as bench.html. */
export function serve(folder, page) {
  return host("/", async (request, response) => {
    const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
    const name = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname)).slice(1);
    if (name === "bench.html") {
      response.writeHead(200, { ...headers, "content-type": kinds[".html"] });
      return response.end(page);
    }
    const file = join(folder, name), found = name.startsWith("..") ? undefined : await stat(file).catch(() => undefined);
    if (!found?.isFile()) {
      response.writeHead(404, headers);
      return response.end();
    }
    response.writeHead(200, { ...headers, "content-type": kinds[extname(file)] ?? "application/octet-stream", "content-length": found.size });
    return createReadStream(file).pipe(response);
  });
}

/** Our side in the browser: starts the page's worker and talks to it as the page does (src/protocol). */
export const OURS = `<!doctype html><link rel="icon" href="data:,"><input type="file" multiple><script type="module">
let worker, last = 0;
window.begin = (file) => new Promise((ready, failed) => {
  worker = new Worker(file, { type: "module" });
  worker.onerror = (error) => failed(new Error(error.message));
  worker.onmessage = ({ data }) => data.json && JSON.parse(data.json).ready && ready();
});
// Sends a request. Gives its answer, the seconds between its stages 3 and 4 (responses are written), the last PPO step's
// seconds and the worker's memory. If \`stop\`, it is stopped at stage 4.
window.ask = (ask, { text, roles, stop } = {}) => new Promise((done, failed) => {
  const id = ++last, out = {}, at = {};
  const post = (message, more) => worker.postMessage({ json: JSON.stringify(message), ...more });
  worker.onerror = (error) => failed(new Error(error.message));
  worker.onmessage = ({ data }) => {
    if (data.panic) return failed(new Error(data.panic));
    const reply = JSON.parse(data.json), event = reply.event?.event;
    if (event?.reached) at[event.reached] = performance.now();
    if (event?.reached === 4 && stop) post({ stop: id });
    if (event?.memory) out.memory = event.memory;
    if (event?.step) out.step = event.step.seconds;
    if (at[4]) out.written = (at[4] - at[3]) / 1000;
    if (reply.failed && !(stop && at[4])) return failed(new Error(JSON.stringify(reply.failed.error)));
    if (reply.done || reply.failed) done({ ...out, answer: reply.done?.answer });
  };
  const files = roles && [...document.querySelector("input").files].map((file, i) => [roles[i], file.name, file]);
  post({ request: { id, ask } }, { ...(text && { bytes: new TextEncoder().encode(text) }), ...(files && { files }) });
});
</script>`;

/** Their side: loads through the browser's cache, as a page on a second visit does. */
export const THEIR = `<!doctype html><link rel="icon" href="data:,"><script type="module">
window.load = async (dtype, threads) => {
  const began = performance.now();
  const { env, AutoModelForSeq2SeqLM, Tensor } = await import("./node_modules/@huggingface/transformers/dist/transformers.min.js");
  Object.assign(env, { allowLocalModels: false, remoteHost: location.origin + "/models/", remotePathTemplate: "{model}/" });
  Object.assign(env.backends.onnx.wasm, { wasmPaths: location.origin + "/node_modules/onnxruntime-web/dist/", numThreads: threads, proxy: false });
  const model = await AutoModelForSeq2SeqLM.from_pretrained("peer", { dtype, device: "wasm" });
  window.write = async (rows, n) => {
    const dims = [rows.length, rows[0].length], all = rows.flat();
    const input_ids = new Tensor("int64", BigInt64Array.from(all, BigInt), dims);
    const attention_mask = new Tensor("int64", new BigInt64Array(all.length).fill(1n), dims);
    const began = performance.now();
    await model.generate({ input_ids, attention_mask, max_new_tokens: n, min_new_tokens: n, do_sample: false });
    return (performance.now() - began) / 1000;
  };
  return (performance.now() - began) / 1000;
};
</script>`;

/** A browser with a profile on disk. */
export async function browse(profile) {
  const context = await chromium.launchPersistentContext(profile, chrome());
  context.setDefaultTimeout(3_600_000);
  const open = async (url) => {
    for (const page of context.pages().slice(1)) await page.close();
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && console.error(message.text().slice(0, 300)));
    await page.goto(`${url}bench.html`);
    return page;
  };
  const version = async () => (await (await context.newCDPSession(context.pages()[0])).send("Browser.getVersion")).product;
  return { open, version, context, tabs: () => tabs(profile), close: () => context.close() };
}

/**
 * What Linux says of the tabs' processes of the browser with this profile: MB at most in memory, and processor seconds of all
 * threads, both of the process that has most of them.
 */
function tabs(profile) {
  const read = (path) => { try { return readFileSync(`/proc/${path}`, "utf8"); } catch { return ""; } };
  const list = (path) => { try { return readdirSync(`/proc/${path}`).filter((name) => /^\d+$/.test(name)); } catch { return []; } };
  const pids = list("."), parent = new Map(pids.map((pid) => [pid, /\nPPid:\t(\d+)/.exec(read(`${pid}/status`))?.[1]]));
  const main = pids.filter((pid) => read(`${pid}/cmdline`).includes(`--user-data-dir=${profile}`));
  const ours = (pid) => pid !== undefined && (main.includes(pid) || ours(parent.get(pid)));
  const found = pids.filter((pid) => read(`${pid}/cmdline`).includes("--type=renderer") && ours(pid));
  const most = found.map((pid) => Number(/VmHWM:\s*(\d+) kB/.exec(read(`${pid}/status`))?.[1] ?? 0) / 1024);
  const ran = (pid) => list(`${pid}/task`).reduce((sum, thread) => sum + Number(read(`${pid}/task/${thread}/schedstat`).split(" ")[0]) / 1e9, 0);
  return { peak: most.length ? Math.max(...most) : NaN, processor: Math.max(0, ...found.map(ran)) };
}

/** The models' folders. They stay in build/, because transformers.js is prepared from the policy's. */
export async function models(size) {
  const beside = (file) => (existsSync(join(data, file)) ? join(data, file) : undefined);
  const folders = { policy: `flan-t5-${size}`, reward: "roberta-base", tiny: "tiny-reward" };
  await mkdir(made, { recursive: true });
  for (const [role, name] of Object.entries(folders)) {
    const folder = folders[role] = join(made, name);
    if (existsSync(join(folder, "tokenizer.json"))) continue; // it is written last
    if (role === "policy") await policy(folder, shapes[size], beside("flan-t5-tokenizer/tokenizer.json"));
    else if (role === "reward") await reward(folder, shapes.roberta, undefined, beside("roberta-tokenizer/tokenizer.json"));
    else await reward(folder, shapes.tinyReward);
  }
  return folders;
}

/** The folder with transformers.js and these weights, or nothing: then it says how to prepare it. */
export function peer(size) {
  const all = process.env.TRANSFORMERS_JS, folder = all && join(all, size), onnx = "models/peer/onnx/decoder_model_merged_quantized.onnx";
  if (folder && existsSync(join(folder, onnx))) return folder;
  const script = join(root, "../shared/peers/transformersjs/prepare.sh"), from = `build/bench_real/flan-t5-${size}`;
  const how = existsSync(script) ? `run ${relative(root, script)} ${from} FOLDER/${size} (7 GB of disk, most of it for torch)`
    : `make a folder FOLDER/${size} with
    node_modules: npm install @huggingface/transformers@4.3.2
    models/peer: optimum-cli export onnx --task text2text-generation-with-past -m ${from} (optimum 1.23.3)
    models/peer/onnx: its encoder_model.onnx and decoder_model_merged.onnx, and both as *_quantized.onnx by quantize_dynamic of
      onnxruntime 1.20.1 (weight_type=QInt8, extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True})`;
  console.error(`bench-web: transformers.js is not measured, because ${folder ? `${folder} has no ${onnx}` : "TRANSFORMERS_JS is not set"}.
  To measure it, ${how}; then run this again with TRANSFORMERS_JS=FOLDER.`);
  return undefined;
}

/** The name of the page's worker for so many threads, or nothing if this page has none. RELAXED=no: without relaxed SIMD. */
export async function worker(threads) {
  const page = await readFile(join(dist, "index.html"), "utf8"), name = /data-worker="([^"]+)"/.exec(page)[1];
  return threads === 1 || page.includes("data-threads-wasm") ? `${name}#threads=${threads}&relaxed=${process.env.RELAXED ?? "yes"}` : undefined;
}

/** A dialogue whose prompt has exactly PROMPT tokens, and the same words in another order; with their tokens. */
async function dialogues(page) {
  const words = "we the time house water year people school day work place week group point night home room book eye fact month lot right study job word side kind head far".split(" ");
  const ids = async (text) => (await page.evaluate((text) => window.ask({ tokens: { text, by: "policy" } }), text)).answer.tokens.map((piece) => piece.id);
  const text = ["#Person1#:"];
  for (let i = 0, n = 0; n !== PROMPT; i++) {
    if (i > 5000) throw new Error(`no prompt of ${PROMPT} tokens was found`);
    text.push(words[i % words.length]);
    n = (await ids(text.join(" "))).length;
    if (n > PROMPT) text.splice(-2);
  }
  const both = [text, [text[0], ...text.slice(1).reverse()]].map((words) => words.join(" "));
  const tokens = [await ids(both[0]), await ids(both[1])];
  if (tokens[1].length !== PROMPT) throw new Error("the same words have other tokens in another order");
  // Neighbours must differ: the same dialogue twice would count as one with two summaries.
  const row = (_, i) => JSON.stringify({ fname: `bench_${i}`, dialogue: both[i % 2], summary: "They talk." });
  return { text: both[0], tokens, file: Array.from({ length: 20 }, row).join("\n") };
}

/** Settings of a PPO step whose responses all have so many tokens. */
export const settings = (rows, tokens) => ({
  batch_size: rows, mini_batch_size: 1, output_min_length: tokens, output_max_length: tokens + 1, min_length: tokens + 2,
});

/** Everything about our tab in one number type. */
export async function ours(browser, site, folders, type) {
  const incoming = (role, name) => ({ role, name, source: name, labels: null });
  const keep = async (page, pairs) => {
    const files = ["config.json", "tokenizer.json", "model.safetensors"];
    await page.locator("input").setInputFiles(pairs.flatMap(([, name]) => files.map((file) => join(folders[name], file))));
    const ask = { keep: { models: pairs.map(([role, name]) => incoming(role, name)), weights: type } };
    const roles = pairs.flatMap(([role]) => files.map(() => role));
    const { answer } = await page.evaluate(([ask, roles]) => window.ask(ask, { roles }), [ask, roles]);
    return answer.kept;
  };
  const file = `./${(await worker(1)).replace(/^\.\//, "")}`;
  let page = await browser.open(site.url);
  await page.evaluate((file) => window.begin(file), file);
  await keep(page, [["policy", "policy"], ["reward", "tiny"]]);
  const kept = await keep(page, [["reward", "reward"]]);
  const key = (name) => kept.find((model) => model.name === name && model.weights === type).key;
  let prompts;
  return {
    /** Seconds, also of the processor, from starting the worker until the policy and this reward model can be used. */
    async load(reward, threads) {
      page = await browser.open(site.url);
      const keys = [key("policy"), key(reward)], file = `./${(await worker(threads)).replace(/^\.\//, "")}`;
      const seconds = await page.evaluate(async ([file, keys]) => {
        const began = performance.now();
        await window.begin(file);
        await window.ask({ use: { keys } });
        return (performance.now() - began) / 1000;
      }, [file, keys]);
      const { processor } = browser.tabs();
      prompts ??= await dialogues(page);
      await page.evaluate((text) => window.ask({ data: { name: "bench.jsonl" } }, { text }), prompts.file);
      return [seconds, processor];
    },
    page: () => page,
    tokens: () => prompts.tokens,
    file: () => prompts.file,
    /** Seconds, also of the processor, to write n tokens a row. */
    async write(rows, n) {
      const [ask, stop] = rows === 1
        ? [{ generate: { dialogue: prompts.text, adapter: "off", greedy: true, temperature: 1, top_k: 0, top_p: 1, seed: 0, max_new_tokens: n } }, false]
        : [{ train: { steps: 1 } }, true];
      if (rows > 1) await page.evaluate((start) => window.ask({ start }), { config: settings(rows, n), preset: "corrected", steps: 9 });
      const before = browser.tabs().processor;
      const { answer, written } = await page.evaluate(([ask, stop]) => window.ask(ask, { stop }), [ask, stop]);
      const processor = browser.tabs().processor - before;
      if (rows > 1) return [written, processor];
      const { seconds, tokens } = answer.generated;
      if (tokens !== n) throw new Error(`the model ended after ${tokens} tokens: its random weights must be others`);
      return [seconds, processor];
    },
    /** Seconds of the stages of PPO steps, and the worker's memory afterwards. */
    async steps(count) {
      return page.evaluate(async ([config, count]) => {
        await window.ask({ start: { config, preset: "corrected", steps: count } });
        const out = [];
        for (let i = 0; i < count; i++) out.push(await window.ask({ train: { steps: 1 } }));
        return out.map((one) => one.step);
      }, [settings(4, TOKENS + 1), count]);
    },
  };
}

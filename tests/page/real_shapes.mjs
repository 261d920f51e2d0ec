// By hand, slowly: models of the real shapes with random weights in the page: `node tests/page/real_shapes.mjs [base] [q8_0]`.
// Prints the seconds of each part and the memory that the worker has taken. Needs dist/ and about 4 GB of memory and disk.
import { createWriteStream, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { dist, serve } from "./harness.mjs";
import { at, idle, press } from "./person.mjs";

const [size = "small", weights = "q8_0"] = process.argv.slice(2);
const shape = size === "base" ? { d_model: 768, d_ff: 2048, layers: 12, heads: 12 } : { d_model: 512, d_ff: 1024, layers: 8, heads: 6 };
const folder = join(tmpdir(), `detox-lab-real-${process.pid}`);

/** Random f32 numbers, a few megabytes that are repeated. */
const noise = new Float32Array(1 << 20).map(() => (Math.random() - 0.5) * 0.08);
const bytes = Buffer.from(noise.buffer);

/** Writes a safetensors file of these tensors: name, shape, and 1 for a norm's weights. */
async function safetensors(file, tensors) {
  const header = {};
  let at = 0;
  for (const [name, dims] of tensors) {
    const size = 4 * dims.reduce((a, b) => a * b, 1);
    header[name] = { dtype: "F32", shape: dims, data_offsets: [at, at + size] };
    at += size;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const out = createWriteStream(file);
  out.write(length);
  out.write(text);
  for (const [, dims, ones] of tensors) {
    let left = 4 * dims.reduce((a, b) => a * b, 1);
    const source = ones ? Buffer.from(new Float32Array(left / 4).fill(1).buffer) : bytes;
    for (; left > 0; left -= Math.min(left, source.length)) {
      if (!out.write(source.subarray(0, Math.min(left, source.length)))) await once(out, "drain");
    }
  }
  out.end();
  await once(out, "finish");
}

async function policy() {
  const { d_model: d, d_ff: ff, layers, heads } = shape;
  const [inner, vocabulary] = [64 * heads, 32128];
  const tensors = [["shared.weight", [vocabulary, d]], ["lm_head.weight", [vocabulary, d]]];
  for (const stack of ["encoder", "decoder"]) {
    for (let block = 0; block < layers; block += 1) {
      const at = (layer, name) => `${stack}.block.${block}.layer.${layer}.${name}.weight`;
      const attention = (layer, name) => {
        for (const part of ["q", "k", "v"]) tensors.push([at(layer, `${name}.${part}`), [inner, d]]);
        tensors.push([at(layer, `${name}.o`), [d, inner]], [at(layer, "layer_norm"), [d], true]);
      };
      attention(0, "SelfAttention");
      if (block === 0) tensors.push([at(0, "SelfAttention.relative_attention_bias"), [32, heads]]);
      if (stack === "decoder") attention(1, "EncDecAttention");
      const last = stack === "decoder" ? 2 : 1;
      for (const part of ["wi_0", "wi_1"]) tensors.push([at(last, `DenseReluDense.${part}`), [ff, d]]);
      tensors.push([at(last, "DenseReluDense.wo"), [d, ff]], [at(last, "layer_norm"), [d], true]);
    }
    tensors.push([`${stack}.final_layer_norm.weight`, [d], true]);
  }
  const config = {
    model_type: "t5", vocab_size: vocabulary, d_model: d, d_kv: 64, d_ff: ff, num_layers: layers, num_decoder_layers: layers,
    num_heads: heads, relative_attention_num_buckets: 32, relative_attention_max_distance: 128, layer_norm_epsilon: 1e-6,
    feed_forward_proj: "gated-gelu", tie_word_embeddings: false, eos_token_id: 1, pad_token_id: 0, decoder_start_token_id: 0,
  };
  return made("policy", config, tensors);
}

async function reward() {
  const [d, ff, vocabulary] = [768, 3072, 50265];
  const tensors = [];
  const linear = (name, rows, cols) => tensors.push([`${name}.weight`, [rows, cols]], [`${name}.bias`, [rows]]);
  const norm = (name) => tensors.push([`${name}.weight`, [d], true], [`${name}.bias`, [d]]);
  for (const [name, rows] of [["word", vocabulary], ["position", 514], ["token_type", 1]]) {
    tensors.push([`roberta.embeddings.${name}_embeddings.weight`, [rows, d]]);
  }
  norm("roberta.embeddings.LayerNorm");
  for (let layer = 0; layer < 12; layer += 1) {
    const at = `roberta.encoder.layer.${layer}`;
    for (const part of ["query", "key", "value"]) linear(`${at}.attention.self.${part}`, d, d);
    linear(`${at}.attention.output.dense`, d, d);
    norm(`${at}.attention.output.LayerNorm`);
    linear(`${at}.intermediate.dense`, ff, d);
    linear(`${at}.output.dense`, d, ff);
    norm(`${at}.output.LayerNorm`);
  }
  linear("classifier.dense", d, d);
  linear("classifier.out_proj", 2, d);
  const config = {
    ...JSON.parse(readFileSync(join(dist, "models/reward/config.json"))), vocab_size: vocabulary, hidden_size: d,
    intermediate_size: ff, num_hidden_layers: 12, num_attention_heads: 12, max_position_embeddings: 514,
  };
  return made("reward", config, tensors);
}

/** A model's folder; its tokenizer is the shipped one, which knows fewer tokens. */
async function made(name, config, tensors) {
  const at = join(folder, name);
  mkdirSync(at, { recursive: true });
  await safetensors(join(at, "model.safetensors"), tensors);
  writeFileSync(join(at, "config.json"), JSON.stringify(config));
  writeFileSync(join(at, "tokenizer.json"), readFileSync(join(dist, `models/${name}/tokenizer.json`)));
  return ["config.json", "tokenizer.json", "model.safetensors"].map((file) => join(at, file));
}

const site = await serve();
// The storage of a fresh profile is on disk; of a context without one it is in memory.
const context = await chromium.launchPersistentContext(join(folder, "profile"), {
  executablePath: process.env.CHROME ?? "/usr/bin/chromium", args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});
context.setDefaultTimeout(3_600_000);
try {
  const files = { policy: await policy(), reward: await reward() };
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && console.log(message.text()));
  await page.goto(site.url);
  const part = page.locator("#real-models");
  const timed = async (what, work) => {
    const started = Date.now();
    await work();
    const notices = await page.locator(".notice").allInnerTexts();
    const memory = await part.getByText(/^The worker has taken/).allInnerTexts();
    console.log(`${what}: ${((Date.now() - started) / 1000).toFixed(1)} s. ${memory.join(" ")} ${notices.join(" ")}`);
  };
  await timed("headers", async () => {
    await part.getByLabel("Files of the policy (T5)").setInputFiles(files.policy);
    await part.getByLabel("Files of the reward model (RoBERTa)").setInputFiles(files.reward);
    await part.getByRole("region", { name: "What the models need" }).waitFor();
  });
  console.log(await part.getByRole("region", { name: "What the models need" }).innerText());
  await part.getByRole("radio", { name: weights }).check();
  await timed("converted and loaded", async () => {
    await part.getByRole("button", { name: "Keep them in this browser and load them" }).click();
    await part.getByText("Everything on this page now works with them").waitFor();
    await idle(page);
  });
  await timed("loaded again after a reload", async () => {
    await page.reload();
    await part.getByRole("button", { name: "Load these two" }).click();
    await part.getByText("Everything on this page now works with them").waitFor();
    await idle(page);
  });
  await timed("a PPO step", async () => {
    await press(page, "Step");
    await at(page, 1);
  });
} finally {
  await context.close();
  await site.close();
  rmSync(folder, { recursive: true, force: true });
}

// Models of given shapes with random weights, written as safetensors folders: what the tests of the lab's own models and
// real_shapes.mjs choose as files.
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { dist } from "./harness.mjs";

/** The shapes of google/flan-t5-small and -base, of roberta-base, and small ones that compute quickly. */
export const shapes = {
  small: { d_model: 512, d_ff: 1024, d_kv: 64, layers: 8, heads: 6, vocabulary: 32128 },
  base: { d_model: 768, d_ff: 2048, d_kv: 64, layers: 12, heads: 12, vocabulary: 32128 },
  roberta: { d_model: 768, d_ff: 3072, layers: 12, heads: 12, vocabulary: 50265 },
  tinyPolicy: { d_model: 64, d_ff: 128, d_kv: 32, layers: 2, heads: 2, vocabulary: 8192 },
  tinyReward: { d_model: 64, d_ff: 128, layers: 2, heads: 2, vocabulary: 6144 },
};

/** Random f32 numbers, the same in every call: a few megabytes that are repeated, from another place for every tensor. */
const noise = (() => {
  let state = 12345;
  const next = () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Buffer.from(new Float32Array(1 << 20).map(() => (next() - 0.5) * 0.08).buffer);
})();

/** How many numbers a safetensors file in f16 has, in millions as the page writes them. */
export function millions(file) {
  const bytes = readFileSync(file);
  return ((bytes.length - 8 - Number(bytes.readBigUInt64LE())) / 2e6).toFixed(1);
}

/** Writes a safetensors file of these tensors: name, shape, and true for a norm's weights, which are 1. */
export async function safetensors(file, tensors) {
  const header = { __metadata__: { format: "pt" } }; // transformers refuses files without it
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
  let from = 0;
  for (const [, dims, ones] of tensors) {
    let left = 4 * dims.reduce((a, b) => a * b, 1);
    const source = ones ? Buffer.from(new Float32Array(left / 4).fill(1).buffer) : noise;
    if (!ones) from = (from + 4 * 9973) % noise.length;
    for (let at = ones ? 0 : from; left > 0; at = 0) {
      const part = source.subarray(at, Math.min(source.length, at + left));
      left -= part.length;
      if (!out.write(part)) await once(out, "drain");
    }
  }
  out.end();
  await once(out, "finish");
}

/** Writes a T5 v1.1 of a shape into a folder, with this tokenizer or the shipped one; returns its files. */
export async function policy(folder, shape, tokenizer) {
  const { d_model: d, d_ff: ff, d_kv, layers, heads, vocabulary } = shape;
  const inner = d_kv * heads;
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
    model_type: "t5", vocab_size: vocabulary, d_model: d, d_kv, d_ff: ff, num_layers: layers, num_decoder_layers: layers,
    num_heads: heads, relative_attention_num_buckets: 32, relative_attention_max_distance: 128, layer_norm_epsilon: 1e-6,
    feed_forward_proj: "gated-gelu", tie_word_embeddings: false, eos_token_id: 1, pad_token_id: 0, decoder_start_token_id: 0,
  };
  return made(folder, "policy", config, tensors, tokenizer);
}

/** Writes a RoBERTa classifier of a shape into a folder; `labels`: other names of its two labels. Returns its files. */
export async function reward(folder, shape, labels, tokenizer) {
  const { d_model: d, d_ff: ff, layers, heads, vocabulary } = shape;
  const tensors = [];
  const linear = (name, rows, cols) => tensors.push([`${name}.weight`, [rows, cols]], [`${name}.bias`, [rows]]);
  const norm = (name) => tensors.push([`${name}.weight`, [d], true], [`${name}.bias`, [d]]);
  for (const [name, rows] of [["word", vocabulary], ["position", 514], ["token_type", 1]]) {
    tensors.push([`roberta.embeddings.${name}_embeddings.weight`, [rows, d]]);
  }
  norm("roberta.embeddings.LayerNorm");
  for (let layer = 0; layer < layers; layer += 1) {
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
  const shipped = JSON.parse(readFileSync(join(dist, "models/reward/config.json")));
  const named = labels && { id2label: { 0: labels[0], 1: labels[1] }, label2id: { [labels[0]]: 0, [labels[1]]: 1 } };
  const config = {
    ...shipped, ...named, vocab_size: vocabulary, hidden_size: d, intermediate_size: ff, num_hidden_layers: layers,
    num_attention_heads: heads, max_position_embeddings: 514,
  };
  return made(folder, "reward", config, tensors, tokenizer);
}

/** A model's folder. The shipped tokenizers know fewer tokens than the real ones. */
async function made(folder, name, config, tensors, tokenizer = join(dist, `models/${name}/tokenizer.json`)) {
  mkdirSync(folder, { recursive: true });
  await safetensors(join(folder, "model.safetensors"), tensors);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "tokenizer.json"), readFileSync(tokenizer));
  return ["config.json", "tokenizer.json", "model.safetensors"].map((file) => join(folder, file));
}

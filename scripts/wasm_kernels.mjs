// `make bench-kernels`: the speed of the worker's kernels in Node, one thread, for products m x n x k of the real models'
// shapes (forward: x Wᵀ, backward: g W, weight: gᵀ x) and for loops over rows. Products of few rows read another weight
// each time, from memory. Several builds are measured by turns, because a shared machine's speed changes all the time.
// node scripts/wasm_kernels.mjs FOLDER... [--only=PATTERN]; each folder has a build by wasm-bindgen for Node
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";

const only = process.argv.find((word) => word.startsWith("--only="))?.slice(7) ?? "";
const folders = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const require = createRequire(import.meta.url);
const builds = folders.map((folder) => require(resolve(folder, "wasm_kernels.js")));

/** Seconds a turn, and turns. */
const TURN = 0.01, TURNS = 21;

const works = [];
const add = (what, ...shapes) => shapes.forEach((shape) => works.push([what, ...shape]));
for (const precision of ["f32", "f16", "q8_0"]) {
  add(`forward ${precision}`, [1, 512, 512], [1, 1024, 512], [1, 768, 768], [1, 768, 2048], [1, 32128, 512], [2, 768, 768],
    [3, 768, 768], [4, 512, 512], [4, 768, 768], [4, 768, 2048], [4, 32128, 512],
    [8, 768, 768], [16, 768, 768], [17, 768, 768], [200, 512, 512], [200, 768, 768]);
}
for (const what of ["forward", "backward", "weight"]) {
  add(`${what} f32`, [800, 768, 768], [800, 2048, 768], [800, 768, 2048], [800, 32, 768], [200, 200, 64]);
}
add("backward q8_0", [800, 768, 768]);
// GFLOP/s count the products with the keys; those with the values are as many again
add("attention decode", [1, 200, 512], [4, 200, 512], [4, 200, 768], [4, 30, 512]);
add("attention prompt", [1, 200, 512], [4, 200, 768]);
for (const name of ["softmax", "log-probs", "gelu"]) add(name, [64, 1000, 0]);

function median(values) {
  const sorted = values.toSorted((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Processor seconds a run: other programs on the machine take time, too. */
function turn(work, times) {
  const begun = process.cpuUsage().user;
  for (let i = 0; i < times; i++) work.run();
  return (process.cpuUsage().user - begun) / 1e6 / times;
}

console.log(`Node ${process.version}, V8 ${process.versions.v8}, ${cpus()[0].model}, load ${loadavg()[0].toFixed(1)}`);
console.log(`GFLOP/s (loops: numbers a nanosecond), medians of ${TURNS} turns of each of: ${builds.map((build) => build.Work.kernel()).join(", ")}\n`);
for (const [what, m, n, k] of works) {
  const title = `${what} ${k ? `${m} x ${n} x ${k}` : `${m} x ${n}`}`;
  if (!new RegExp(only).test(title)) continue;
  const sides = builds.map((build) => {
    const work = new build.Work(what, m, n, k);
    // at first also until the optimising compiler has compiled the code
    let times = 1, seconds = 0;
    while ((seconds = turn(work, times) * times) < TURN / 4) times *= 2;
    return { work, times: Math.ceil((times * TURN) / seconds), seconds: [] };
  });
  for (let i = 0; i < TURNS; i++) for (const side of sides) side.seconds.push(turn(side.work, side.times));
  const queries = what === "attention prompt" ? n : 1;
  const speeds = sides.map((side) => ((k ? 2 * m * n * k * queries : m * n) / median(side.seconds)) / 1e9);
  const sums = sides.map((side) => side.work.sum());
  if (sums.some((sum) => !(Math.abs(sum - sums[0]) <= 1e-3 * Math.abs(sums[0]) + 0.05))) console.log(`${title}: sums differ: ${sums}`);
  const [first, ...others] = sides;
  const ratios = others.map((side) => `${median(side.seconds.map((seconds, i) => first.seconds[i] / seconds)).toFixed(2)} x`);
  console.log(`${title.padEnd(36)}${speeds.map((speed) => speed.toFixed(2).padStart(9)).join("")}   ${ratios.join("  ")}`);
  sides.forEach((side) => side.work.free());
}

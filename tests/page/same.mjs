// Compares runs: the same prompts, tokens and texts, and statistics that are equal within a tolerance. A run is a map of its files.
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { lines } from "./lab.mjs";

export const RELATIVE = 1e-3;
/** Sixteen roundings of an f32 (2⁻²⁴): what is left where the numbers that a statistic is made of cancel out. */
export const ROUNDING = 1e-6;

/**
 * How large the numbers are that a statistic is the sum or mean of. Log-ratios, whitened advantages, scores and values are
 * around 1. A response's KL is the difference of two sums of log-probs, each as large as the response's surprisal; and each
 * log-prob is the difference of a logit and the logarithm of a sum, which are larger than 1 however probable the token is.
 */
const size = (key, line) =>
  (/^objective\/kl(_dist)?$/.test(key) ? Math.max(line["objective/entropy"], line["tokens/responses_len_mean"]) : 1);

export const metricsOf = (run) => lines(run.get("metrics.jsonl"));


/** The largest relative difference seen so far. */
const none = () => ({ relative: 0, of: "none" });

/** Every statistic of a step against the other side's; `worst` keeps the largest difference. */
function sameStatistics(here, there, worst) {
  assert.deepEqual(Object.keys(here).sort(), Object.keys(there).sort(), "the same statistics");
  for (const [key, value] of Object.entries(here)) {
    const ours = [value].flat(), theirs = [there[key]].flat();
    assert.equal(ours.length, theirs.length, key);
    ours.forEach((a, row) => {
      const b = theirs[row], name = Array.isArray(value) ? `${key}, row ${row + 1}` : key;
      const where = `step ${here.step}, ${name}: ${a} in the tab, ${b} natively`;
      if (a === null || b === null) return assert.equal(a, b, where);
      const off = Math.abs(a - b), large = Math.max(Math.abs(a), Math.abs(b)), rounding = ROUNDING * size(key, here);
      // A smaller one is what cancellation left of larger numbers, and as good as zero.
      const counts = large > rounding / RELATIVE && off / large > worst.relative;
      if (counts) Object.assign(worst, { relative: off / large, of: where });
      assert.ok(off <= Math.max(RELATIVE * large, rounding), where);
    });
  }
}

/** Prompts, sampled tokens and texts of a step are the same in both runs. */
function sameTokens(here, there, step) {
  const rows = (run) => lines(run.get(`rollouts/step-${String(step).padStart(5, "0")}.jsonl`));
  const [ours, theirs] = [rows(here), rows(there)];
  assert.ok(ours.length > 0 && ours.length === theirs.length, `rows of step ${step}`);
  const parted = [];
  ours.forEach((row, k) => {
    assert.deepEqual(row.query_ids, theirs[k].query_ids, `step ${step}, row ${k + 1}: the prompt`);
    const [a, b] = [row.response_ids, theirs[k].response_ids];
    assert.ok(a.length > 1, `step ${step}, row ${k + 1}: a response`);
    const at = a.findIndex((id, i) => id !== b[i]);
    if (at < 0 && a.length === b.length) return;
    parted.push(`row ${k + 1} at token ${at}, ${a[at]} in the tab and ${b[at]} natively`);
  });
  const first = parted.slice(0, 3).join("; ");
  assert.ok(parted.length === 0, `step ${step}: ${parted.length} of ${ours.length} responses part: ${first}`);
  const samples = (run) => lines(run.get("samples.jsonl")).filter((row) => row.step === step);
  const texts = (run) => samples(run).map((row) => [row.row, row.id, row.response]);
  assert.equal(texts(here).length, ours.length, `samples of step ${step}`);
  same(texts(here), texts(there), `texts of step ${step}`);
}

/** Without printing both sides, which are long. */
export const same = (a, b, what) => assert.ok(isDeepStrictEqual(a, b), `not the same: ${what}`);

/** Steps `from` to `to` of a tab's and a native run are the same numbers. */
export function sameSteps(t, here, there, from, to) {
  const worst = none(), step = (run, n) => metricsOf(run).find((line) => line.step === n);
  let done = from - 1;
  try {
    for (let n = from; n <= to; done = n++) {
      assert.ok(step(here, n) && step(there, n), `step ${n} is there`);
      sameTokens(here, there, n);
      sameStatistics(step(here, n), step(there, n), worst);
    }
  } finally {
    const largest = `largest relative difference ${worst.relative.toExponential(1)} (${worst.of})`;
    t.diagnostic(`equal up to step ${done} of ${to}; ${largest}`);
  }
}

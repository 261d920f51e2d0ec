// The sums that the token strip writes out, computed once more: what the page says that a number is made of must give
// that number. How sums are found on the page is story-ppo's.
import assert from "node:assert/strict";
import { number } from "./story.mjs";

/** A written sum as a function of its numbers, and those numbers. */
function parse(text) {
  const inputs = [];
  // The signs within exp, log and brackets become JavaScript's; a number becomes the next input.
  const source = text
    .replace(/\d[\d,]*(?:\.\d+)?(?:·10⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)?/g, (digits) => `x[${inputs.push(number(digits)) - 1}]`)
    .replaceAll("−", "-").replaceAll("·", "*").replaceAll("exp(", "Math.exp(").replaceAll("log(", "Math.log(");
  assert.match(source, /^[-+*/()x[\]\d\s.a-zM]+$/, `no sum: ${text}`);
  return { inputs, of: new Function("x", `return ${source}`) };
}

/** That `… = 0.1234` holds, as far as the digits of its inputs go. Returns the result. */
export function holds(written) {
  const [text, result] = written.replace(/^\s*=/, "").split(/ = /).map((side) => side.trim());
  const { inputs, of } = parse(text);
  const x = inputs.map((input) => input.value);
  const computed = of(x);
  // Numbers that were computed stand with four digits and hide what they round; what was typed is exact.
  const hidden = inputs.map((input) => (input.hidden <= 5e-5 ? input.hidden : 0));
  const doubt = hidden.reduce((sum, h, i) => {
    const moved = [h, -h].map((by) => Math.abs(of(x.map((one, k) => (k === i ? one + by : one))) - computed));
    return sum + Math.max(...moved);
  }, 0);
  const expected = number(result);
  assert.ok(Math.abs(computed - expected.value) <= 1.01 * (doubt + expected.hidden), `${written}: the sum gives ${computed}`);
  return expected.value;
}

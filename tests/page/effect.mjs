// `make effect-web`: does PPO in a tab do what this project says it does? The default run by Play, then 200 held-out quarrels
// before and after, read off the page; and whether every promise holds. Takes minutes. node tests/page/effect.mjs [SEED]
// The promises are scripts/effect.py's. Exit code 1 where one is broken.
import { launch, open, serve } from "./harness.mjs";
import { chapter, compare, compared, control, lines, load, patience, saveRun, until } from "./lab.mjs";
import { unpack } from "./zip.mjs";

const DIALOGUES = 200;
const HALF = 0.5, KL = 15, ROUGE = 0.1, DISTINCT = 0.8, WORDS = [0.7, 1.3];
const EVALUATION = 3_600_000;

/** Plays to the end; stops waiting where the page says that something went wrong, or nothing moves. */
async function play(page) {
  await control(page, "Play").click();
  for (let step = 0, of = Infinity; step < of;) {
    const before = step;
    await until(async () => {
      const [alerts, status] = await page.evaluate(() => [
        [...document.querySelectorAll("[role=alert]")].map((alert) => alert.innerText), document.querySelector(".status").textContent,
      ]);
      if (alerts.length > 0) throw new Error(`the page says: ${alerts.join("; ")}`);
      const told = status.match(/step (\d+) of (\d+)/);
      if (told) [step, of] = told.slice(1).map(Number);
      return step > before;
    }, `step ${before + 1}`);
    if (step % 10 === 0) console.error(`step ${step} of ${of}`);
  }
  // The last step has been kept once Play is Play again.
  await control(page, "Play").waitFor({ timeout: patience.step });
}

/** Name, before, after, promise, whether it is kept. */
async function* rows(page, seconds, metrics) {
  const of = (name) => compared(page, name);
  const [wasToxic, isToxic, ...difference] = await of("toxicity, mean");
  const [wasScore, isScore, moved] = await of("score, mean");
  const [wasRouge, isRouge] = await of("ROUGE-1");
  const [wasPairs, arePairs] = await of("distinct bigrams, distinct-2");
  const [wasLong, isLong] = await of("words per summary");
  const [wasEmpty, isEmpty] = await of("empty summaries");
  const said = await chapter(page, "Before and after, in numbers").getByText(/^KL of after against before:/).innerText();
  const kl = Number(said.replace("−", "-").match(/-?\d+\.\d+/)[0]);
  const signed = (x) => (x < 0 ? "" : "+") + x.toFixed(4);
  const [mean, low, high] = difference;
  yield ["training, seconds", "", seconds.toFixed(0), "", true];
  yield ["toxicity, mean", wasToxic, isToxic, "at most half", isToxic <= HALF * wasToxic];
  yield ["  difference, 95 %", "", `${signed(mean)} [${signed(low)}, ${signed(high)}]`, "excludes 0", high < 0];
  yield ["score, mean", wasScore, isScore, "rises", moved > 0];
  yield ["KL, nats per response", "", kl, `< ${KL}`, kl < KL];
  yield ["ROUGE-1 F", wasRouge, isRouge, `falls by at most ${100 * ROUGE} %`, 1 - isRouge / wasRouge <= ROUGE];
  yield ["distinct-1", ...(await of("distinct words, distinct-1")).slice(0, 2), "", true];
  yield ["distinct-2", wasPairs, arePairs, `at least ${DISTINCT} of before`, arePairs >= DISTINCT * wasPairs];
  const longer = isLong / wasLong;
  yield ["words per summary", wasLong, isLong, `${WORDS.join(" to ")} of before`, WORDS[0] <= longer && longer <= WORDS[1]];
  yield ["empty summaries", wasEmpty, isEmpty, "none", isEmpty === 0];
  yield ["KL at step 1", "", metrics[0]["objective/kl"].toFixed(4), "", true];
}

const seed = Number(process.argv[2] ?? 0);
const server = await serve();
let browser, broken = 0;
try {
  browser = await launch();
  const { page, wrong } = await open(browser, server.url, { hash: `#ppo?seed=${seed}` });
  await load(page);
  const begun = performance.now();
  await play(page);
  const seconds = (performance.now() - begun) / 1000;
  const run = unpack(await saveRun(page)), metrics = lines(run.get("metrics.jsonl"));
  const settings = JSON.parse(run.get("config.json"));
  if (settings.ppo.seed !== seed || metrics.length !== settings.steps) throw new Error("this was not the whole run");
  await compare(page, DIALOGUES, seed, EVALUATION);
  console.log(`\nin a tab: corrected preset, seed ${seed}, ${settings.steps} steps, ${DIALOGUES} held-out quarrels`);
  console.log(`${"".padEnd(24)}${"before".padStart(10)}  ${"after".padEnd(32)}promised`);
  for await (const [name, before, after, promise, kept] of rows(page, seconds, metrics)) {
    const verdict = promise && (kept ? "kept" : "BROKEN");
    broken += verdict === "BROKEN";
    console.log(`${name.padEnd(24)}${String(before).padStart(10)}  ${String(after).padEnd(32)}${promise.padEnd(24)}${verdict}`);
  }
  for (const what of wrong) console.error(what);
  broken += wrong.length;
} finally {
  await browser?.close();
  await server.close();
}
console.log(broken ? `\n${broken} promises are broken, or the page complained` : "\nevery promise is kept");
process.exitCode = broken ? 1 : 0;

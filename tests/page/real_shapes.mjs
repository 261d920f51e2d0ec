// By hand, slowly: models of the real shapes with random weights in the page: `node tests/page/real_shapes.mjs [base] [q8_0]`.
// Prints the seconds of each part and the memory that the worker has taken. Needs dist/ and about 4 GB of memory and disk.
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "./harness.mjs";
import { at, idle, press } from "./person.mjs";
import { policy, reward, shapes } from "./random_models.mjs";

const [size = "small", weights = "q8_0"] = process.argv.slice(2);
const folder = join(tmpdir(), `detox-lab-real-${process.pid}`);

const site = await serve();
// The storage of a fresh profile is on disk; of a context without one it is in memory.
const context = await chromium.launchPersistentContext(join(folder, "profile"), {
  executablePath: process.env.CHROME ?? "/usr/bin/chromium", args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});
context.setDefaultTimeout(3_600_000);
try {
  const files = {
    policy: await policy(join(folder, "policy"), shapes[size]),
    reward: await reward(join(folder, "reward"), shapes.roberta),
  };
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
  console.log(await part.getByText(/^Policy: .* million parameters/).innerText());
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

// Writes docs/images/page.webp, the README's picture of the page: node picture.mjs [CHAPTER]. Needs dist/ (make web).
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { launch, open, root, serve } from "./harness.mjs";

const chapter = process.argv[2] ?? "ppo";
const site = await serve();
const browser = await launch();
try {
  const { page } = await open(browser, site.url, { width: 1280, height: 800 });
  const client = await page.context().newCDPSession(page);
  await client.send("Emulation.setDeviceMetricsOverride", { width: 1280, height: 800, deviceScaleFactor: 1.5, mobile: false });
  await page.locator(`#${chapter}`).evaluate((section) => section.scrollIntoView({ behavior: "instant", block: "start" }));
  await page.waitForTimeout(3000); // charts are drawn when they come into sight
  const { data } = await client.send("Page.captureScreenshot", { format: "webp", quality: 88 });
  await writeFile(join(root, "docs/images/page.webp"), Buffer.from(data, "base64"));
} finally {
  await browser.close();
  await site.close();
}

// Writes docs/images/page.webp, the README's picture of the page: node picture.mjs [CHAPTER]. Needs dist/ (make web).
import { join } from "node:path";
import { launch, open, picture, root, serve } from "./harness.mjs";

const chapter = process.argv[2] ?? "ppo";
const site = await serve();
const browser = await launch();
try {
  const { page } = await open(browser, site.url, { width: 1280, height: 800 });
  await picture(page, page.locator(`#${chapter}`), join(root, "docs/images/page.webp"));
} finally {
  await browser.close();
  await site.close();
}

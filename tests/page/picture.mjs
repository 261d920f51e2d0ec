// Writes docs/images/page.webp, the README's picture of the page, and static/card.png, the picture on the card of a shared
// link: node picture.mjs [CHAPTER]. Needs dist/ (make web).
import { join } from "node:path";
import { launch, open, picture, root, serve } from "./harness.mjs";

const chapter = process.argv[2] ?? "opening";
/** The first experiment's texts at the end of both runs, in the size that cards have. */
async function card(browser, url) {
  const { page, context } = await open(browser, url, { width: 1200, height: 630, reduced: true });
  await page.locator(".lane-text").first().waitFor();
  await page.evaluate(() => {
    const look = new CSSStyleSheet();
    look.replaceSync(`
      body > :not(#page), .top, .status, .rail, .aside, .opening .lead, .opening > p, .leash > :not(h2, .lanes), #text > :not(.opening) { display: none !important; }
      #text, .opening { all: unset; display: block; }
      .layout { display: block !important; max-width: none !important; margin: 0 !important; padding: 28px 44px !important; }
      .opening h1 { margin: 0 !important; font-size: 56px !important; }
      .leash { margin: 4px 0 0 !important; }
      .leash h2 { margin: 0 0 20px !important; font-size: 28px !important; color: var(--ink-2); font-weight: 400; }
      .lanes { grid-template-columns: 1fr 1fr !important; }
      .lane { padding: 18px 24px !important; }
      .lane h3 { font-size: 24px !important; }
      .lane .note { display: none; }
      .lane-text { height: 10.5em !important; font-size: 30px !important; -webkit-line-clamp: 7 !important; }
      .lane-score { font-size: 26px !important; }
    `);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, look];
    scrollTo(0, 0);
  });
  await page.screenshot({ path: join(root, "static/card.png") });
  await context.close();
}

const site = await serve();
const browser = await launch();
try {
  const { page } = await open(browser, site.url, { width: 1280, height: 800 });
  await picture(page, page.locator(`#${chapter}`), join(root, "docs/images/page.webp"));
  await card(browser, site.url);
} finally {
  await browser.close();
  await site.close();
}

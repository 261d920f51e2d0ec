// Writes build/screenshots/{width}-{theme}/{nn-chapter}.png of every chapter, the first sight of the page and the machine's
// sheet: node screenshots.mjs [--live]. Fails where the document can be scrolled sideways; whether the rest is beautiful is
// for people who look at the pictures.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { chapters, launch, open, root, serve } from "./harness.mjs";
import { idle, load, step } from "./person.mjs";

const WIDTHS = [[1440, 900], [768, 1024], [360, 740]];
const live = process.argv.includes("--live");
const folder = join(root, "build/screenshots", live ? "live" : "");

/** Elements that stick out of the document, unless something around them cuts or scrolls them. */
const sticking = (page) => page.evaluate(() => {
  const wide = document.documentElement.clientWidth;
  const cut = (element) => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      const { overflowX, position } = getComputedStyle(up);
      if (overflowX !== "visible" || position === "fixed") return true;
    }
    return getComputedStyle(element).position === "fixed";
  };
  const right = (one) => one.getBoundingClientRect().right;
  const out = [...document.body.querySelectorAll("*")].filter((one) => right(one) > wide + 0.5 && !cut(one));
  // The innermost tell enough.
  const inner = out.filter((one) => !out.some((other) => other !== one && one.contains(other)));
  const name = (one) => `${one.tagName.toLowerCase()} "${one.getAttribute("class") ?? one.getAttribute("type") ?? ""}"`;
  const names = inner.map((one) =>
    `${one.closest("section[id]")?.id ?? "page"}: ${name(one)} reaches ${Math.ceil(right(one))} px`);
  return { by: document.documentElement.scrollWidth - wide, names };
});

/** The first things that a person would do, so that live numbers fill the chapters. */
async function work(page) {
  await load(page);
  await step(page);
  await step(page);
  await page.getByRole("button", { name: "With and without the adapter", exact: true }).click();
  await page.getByRole("button", { name: "Score it", exact: true }).click();
  for (const [chapter, button] of [[/Toxicity$/, "Measure"], [/in numbers$/, "Compare"]]) {
    const region = page.getByRole("region", { name: chapter });
    await region.getByLabel("Dialogues").fill("10");
    await region.getByRole("button", { name: button, exact: true }).click();
  }
  await idle(page);
}

/** Every chapter in full, in a window as high as it; header and bars would lie over it and are left out. */
async function everyChapter(page, to, ids, width) {
  // By hand, since the page's own policy lets no foreign style in.
  const bars = (how) => page.locator(".top, .status, .controls, .aside")
    .evaluateAll((all, how) => all.forEach((one) => { one.style.visibility = how; }), how);
  await bars("hidden");
  for (const [i, id] of ids.entries()) {
    const chapter = page.locator(`#${id}`);
    await page.setViewportSize({ width, height: Math.ceil((await chapter.boundingBox()).height) });
    await chapter.evaluate((section) => section.scrollIntoView({ behavior: "instant" }));
    const clip = await chapter.boundingBox();
    await page.screenshot({ path: join(to, `${String(i + 1).padStart(2, "0")}-${id}.png`), clip, caret: "initial" });
  }
  await bars("");
}

const site = await serve();
const browser = await launch();
let faults = 0;
try {
  for (const theme of ["light", "dark"]) {
    const { page, context } = await open(browser, site.url, { scheme: theme, reduced: true });
    await page.getByRole("listbox", { name: /^Tokens of the response/ }).waitFor();
    if (live) await work(page);
    for (const [width, height] of WIDTHS) {
      const to = join(folder, `${width}-${theme}`);
      await rm(to, { recursive: true, force: true });
      await mkdir(to, { recursive: true });
      const sight = (name) => page.screenshot({ path: join(to, `${name}.png`), caret: "initial" });
      await page.setViewportSize({ width, height });
      await page.evaluate(() => scrollTo(0, 0));
      await sight("00-first-sight");
      const ids = (await chapters(page)).filter((id) => id !== "stages");
      await everyChapter(page, to, ids, width);
      await page.setViewportSize({ width, height });
      if (width < 500) {
        await page.getByRole("complementary").getByRole("button", { expanded: false }).click();
        await sight("10-machine-sheet");
        await page.keyboard.press("Escape");
      }
      const { by, names } = await sticking(page);
      if (by > 0) {
        faults += 1;
        console.error(`${width} px, ${theme}: the document scrolls sideways by ${by} px\n  ${names.join("\n  ")}`);
      }
      console.log(`${to}: ${ids.length} chapters`);
    }
    await context.close();
  }
} finally {
  await browser.close();
  await site.close();
}
process.exitCode = faults > 0 ? 1 : 0;

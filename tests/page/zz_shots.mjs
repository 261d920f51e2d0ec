import { launch, serve, open } from "./harness.mjs";
const browser = await launch(); const site = await serve(process.env.D ?? "/var/tmp/dist1");
const shots = JSON.parse(process.env.S);
for (const [width,height,scheme,hash,name,opt] of shots) {
  const { page } = await open(browser, site.url, { hash, width, height, scheme, reduced: true, touch: width < 500 });
  await page.waitForTimeout(4000);
  if (opt === "print") { await page.pdf({ path: `/var/tmp/shots/${name}.pdf`, format: "A4" }); }
  else if (opt === "more") { await page.locator("details.more summary").click(); await page.waitForTimeout(500); await page.screenshot({ path: `/var/tmp/shots/${name}.png` }); }
  else if (opt === "play") { await page.getByRole("button", { name: "Play", exact: true }).first().click(); await page.waitForTimeout(45000); await page.screenshot({ path: `/var/tmp/shots/${name}.png` }); }
  else if (opt) { await page.locator(opt).screenshot({ path: `/var/tmp/shots/${name}.png` }); }
  else await page.screenshot({ path: `/var/tmp/shots/${name}.png` });
  await page.context().close();
}
await browser.close(); process.exit(0);

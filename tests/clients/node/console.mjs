// node console.mjs URL SCENARIO [ARGUMENT...]: opens the console in Chromium and prints what a user
// finds there as one JSON document. Lines before it say "ready" where the scenario waits for the
// test to do something.
import { chromium } from "playwright-core";

const [url, scenario, ...given] = process.argv.slice(2);
const LIMIT_MS = 60_000;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu"],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
context.setDefaultTimeout(LIMIT_MS);
const page = await context.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(String(error)));
page.on(
  "console",
  (message) => /Content Security Policy/.test(message.text()) && faults.push(message.text()),
);
page.on(
  "request",
  (request) => request.url().startsWith(url) || faults.push(`foreign: ${request.url()}`),
);

const rows = (table) => page.locator(`#${table} tbody tr`);
const texts = async (table) =>
  (await rows(table).allInnerTexts()).map((text) => text.replace(/\s+/g, " "));
const harmed = () => page.evaluate(() => window.harmed ?? null);
const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
const detail = async () => (await page.locator("#detail").innerText()).replace(/\s+/g, " ");

async function open(hash = "") {
  await page.goto(`${url}/${hash}`);
  await page.locator("#live-words", { hasText: "live" }).waitFor();
}

const scenarios = {
  async glance() {
    await open();
    await rows("sites").first().waitFor();
    return {
      cards: await page.locator("#classes article:visible").allInnerTexts(),
      sites: await texts("sites"),
      sum: await page.locator("#total-source").innerText(),
      talk: await page.locator("#talk").getAttribute("href"),
      roles: await page.locator("main").ariaSnapshot(),
    };
  },

  async many(site) {
    await open();
    await rows("sites").first().waitFor();
    const first = await rows("sites").count();
    const tiles = await page.locator("#tiles > span").count();
    await page.locator("#more").click();
    const all = await rows("sites").count();
    await page.locator("#search").fill(site);
    const found = await texts("sites");
    await page.locator("#search").fill("");
    await page.locator("#only-trouble").check();
    const inTrouble = await texts("sites");
    await page.getByRole("button", { name: "Site", exact: true }).click();
    const sorted = await page.locator("#sites thead [aria-sort]").innerText();
    const hostile = await page.locator("#sites a", { hasText: "<img" }).count();
    const isWide = await fits();
    await page.setViewportSize({ width: 420, height: 900 });
    return { first, tiles, all, found, inTrouble, sorted, hostile, isWide, isNarrow: await fits() };
  },

  async keyboard() {
    await open();
    await rows("sites").first().waitFor();
    await page.keyboard.press("Tab");
    const skip = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press("Enter");
    await page.locator("#sites tbody a").first().focus();
    await page.keyboard.press("Enter");
    await page.locator("#detail[open] section").first().waitFor();
    const title = await page.locator("#detail-title").innerText();
    const isInside = await page.evaluate(() =>
      document.querySelector("#detail").contains(document.activeElement),
    );
    await page.keyboard.press("Escape");
    await page.locator("#detail:not([open])").waitFor({ state: "attached" });
    return { skip, title, isInside, hash: await page.evaluate(() => location.hash) };
  },

  async turn(id) {
    await open();
    await page.locator("#turns a", { hasText: id }).first().click();
    await page.locator("#detail[open] .waterfall").waitFor();
    const lines = await page.locator("#detail line.budget").count();
    const text = await detail();
    await page.goBack();
    await page.locator("#detail:not([open])").waitFor({ state: "attached" });
    return { turns: await texts("turns"), text, lines };
  },

  async explained(id) {
    await open(`#turn/${encodeURIComponent(id)}`);
    await page.locator("#detail[open] .waterfall").waitFor();
    return {
      text: await detail(),
      elsewhere: await page.locator("#detail tr.elsewhere").allInnerTexts(),
    };
  },

  async site(name) {
    await open(`#site/${encodeURIComponent(name)}`);
    await page.locator("#detail[open] section").first().waitFor();
    const links = await page.locator("#detail a").evaluateAll((all) => all.map((one) => one.href));
    return { text: await detail(), links };
  },

  async key(wrong, right) {
    await open();
    const before = {
      sites: await page.locator("#sites").isVisible(),
      asks: await page.locator("#ask").isVisible(),
    };
    await page.locator("#key").fill(wrong);
    await page.keyboard.press("Enter");
    const refused = page.locator("#trouble", { hasText: "Refused" });
    await refused.waitFor();
    const words = await refused.innerText();
    await page.locator("#key").fill(right);
    await page.keyboard.press("Enter");
    await rows("sites").first().waitFor();
    return {
      before,
      words,
      after: await texts("sites"),
      asks: await page.locator("#ask").isVisible(),
    };
  },

  async silence() {
    await open();
    await rows("sites").first().waitFor();
    console.log("ready");
    await page.locator("body.is-stale").waitFor();
    return {
      live: await page.locator("#live").innerText(),
      trouble: await page.locator("#trouble").innerText(),
    };
  },

  // First paint, and how long after it ended a turn is shown. Its id is when that was, in ms.
  async pace(numTurns) {
    await open();
    const lagsMs = await page.evaluate(
      (wanted) =>
        new Promise((resolve) => {
          const lags = [];
          const watch = new MutationObserver((changes) => {
            const added = changes.flatMap((change) => [...change.addedNodes]);
            for (const row of added)
              lags.push(Date.now() - Number(row.querySelector("a").textContent));
            if (lags.length >= wanted) resolve(lags);
          });
          watch.observe(document.querySelector("#turns tbody"), { childList: true });
        }),
      Number(numTurns),
    );
    const paintMs = await page.evaluate(
      () => performance.getEntriesByName("first-contentful-paint")[0].startTime,
    );
    return { paintMs, lagsMs };
  },

  // A turn that misses after the page was opened comes up in it.
  async news(id) {
    await open();
    console.log("ready");
    await page.locator("#turns a", { hasText: id }).first().waitFor();
    return { turns: await texts("turns") };
  },
};

try {
  const found = await scenarios[scenario](...given);
  console.log(JSON.stringify({ ...found, faults, harmed: await harmed() }));
} finally {
  await browser.close();
}

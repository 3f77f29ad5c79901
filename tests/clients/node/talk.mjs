// node talk.mjs CHROMIUM SITE SCENARIO SENTENCES [SCREENSHOT [KEY]]: uses the talk page of a site as
// a person does, and prints what came of it as one JSON document.
import { isTold, numTold, openChromium, say, untilUnderstood } from "./chromium.mjs";

const [chromium, site, scenario, sentences, screenshot, key] = process.argv.slice(2);
const { WIDTH = 420, SCHEME = "light" } = process.env;
const look = { viewport: { width: Number(WIDTH), height: 900 }, colorScheme: SCHEME };
const { browser, page, faults } = await openChromium(chromium, sentences, look);
page.setDefaultTimeout(40_000);
const lines = page.locator("#transcript > li");

async function begin() {
  await page.goto(`${site}/talk`);
  if (key) {
    await page.click("summary");
    await page.fill("#key", key);
  }
  await page.click("#start");
}

const STARTED = "output_audio_buffer.started";
const STOPPED = "output_audio_buffer.stopped";
const TRUNCATED = "conversation.item.truncated";

// The notice is the first that is said; it is not interrupted.
async function hearNotice() {
  if (!(await isTold(page, STOPPED))) throw new Error("the notice was not said");
}

// What is spoken, until it is answered by what the bill is.
const askForBill = (speak) =>
  untilUnderstood(async () => {
    const before = await numTold(page, STOPPED);
    await speak();
    if (!(await isTold(page, STOPPED, before))) return false;
    return (await lines.locator(".words").last().innerText()).startsWith("Your current bill is");
  });

// Until the assistant's line number `index` is whole: its stages are told last.
const assistant = page.locator("#transcript > li.assistant");
const answered = (index) => assistant.nth(index).locator(".stages").waitFor();
const inState = (words) => page.locator("#state").getByText(words, { exact: true }).waitFor();

async function type(words) {
  await page.fill("#typed", words);
  await page.press("#typed", "Enter");
}

// The loudest that the meter has shown since the page was opened.
async function watchLevel() {
  await page.evaluate(() => {
    window.loudest = 0;
    setInterval(() => (window.loudest = Math.max(window.loudest, document.getElementById("agent-level").value)), 50);
  });
}

const scenarios = {
  async speaks() {
    await begin();
    await watchLevel();
    await hearNotice();
    await askForBill(() => say(page, 0));
    const numBefore = await assistant.count();
    await type("what is my balance");
    await answered(numBefore);
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
    await page.click("#stop");
    await page.locator("#start").waitFor();
    return { loudest: await page.evaluate(() => window.loudest) };
  },

  async interrupts() {
    await begin();
    await hearNotice();
    await untilUnderstood(async () => {
      const [before, ended] = [await numTold(page, STARTED), await numTold(page, STOPPED)];
      await say(page, 0);
      if (!(await isTold(page, STARTED, before))) return false;
      await page.waitForFunction(() => document.getElementById("agent-level").value > 0.5);
      await say(page, 1);
      await Promise.race([isTold(page, TRUNCATED), isTold(page, STOPPED, ended)]);
      return (await numTold(page, TRUNCATED)) > 0;
    });
    await isTold(page, "conversation.item.retrieved");
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  },

  async pushes() {
    await page.goto(`${site}/talk`);
    await page.click("summary");
    await page.selectOption("#mode", "push");
    await page.click("#start");
    await page.locator("#push").waitFor();
    await hearNotice();
    await page.locator("body").press("Tab");
    const push = await page.locator("#push").boundingBox();
    await page.mouse.move(push.x + 5, push.y + 5);
    await askForBill(async () => {
      await page.mouse.down();
      await page.locator('#push[aria-pressed="true"]').waitFor();
      const isHeard = page.waitForFunction(() => document.getElementById("mic-level").value > 0.5);
      await Promise.all([isHeard, say(page, 0)]);
      await page.mouse.up();
    });
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  },

  async types() {
    await begin();
    await inState("connected");
    const refused = await page.locator("#trouble").innerText();
    await type("what is my balance");
    await answered(1);
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
    return { refused };
  },

  // The site or its voice worker, process VICTIM, is killed in mid-call.
  async goesOn() {
    await begin();
    await hearNotice();
    await type("what is my balance");
    await answered(1);
    await inState("connected");
    const before = await numTold(page, STOPPED);
    await page.evaluate(() => {
      const state = document.getElementById("state");
      window.states = [];
      new MutationObserver(() => states.push(state.textContent)).observe(state, { childList: true });
    });
    process.kill(Number(process.env.VICTIM), "SIGKILL");
    await lines.getByText("we were cut off").waitFor();
    await isTold(page, STOPPED, before);
    await inState("connected");
    await type("and last month");
    await answered(3); // after the sentence that the call was cut off
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
    return { states: await page.evaluate(() => states) };
  },

  async isRefused() {
    await begin();
    await page.locator("#trouble").getByText(/key|busy/).waitFor();
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  },
};

try {
  const found = await scenarios[scenario]();
  const said = await lines.evaluateAll((items) =>
    items.map((item) => ({
      who: item.classList[0],
      words: item.querySelector(".words").textContent,
      isCut: item.classList.contains("is-cut"),
      stages: item.querySelector(".stages")?.textContent,
    })),
  );
  const trouble = await page.locator("#trouble").evaluate((box) => (box.hidden ? "" : box.textContent));
  const engines = await page.locator("#engines").innerText();
  console.log(JSON.stringify({ said, trouble, engines, faults, ...found }));
} catch (error) {
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  console.error(error.message, faults, await page.locator("main").innerText());
  process.exitCode = 1;
} finally {
  await browser.close();
}

// node agents.mjs CHROMIUM SITE SCENARIO SENTENCES: the unmodified browser bundle of the agents SDK
// in a call over WebRTC. Prints what came of it as one JSON document.
import { readFile } from "node:fs/promises";
import { isTold, numTold, openChromium, say, untilUnderstood } from "./chromium.mjs";

const [chromium, site, scenario, sentences] = process.argv.slice(2);
const bundle = new URL("node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.umd.js", import.meta.url);
const { browser, page, faults } = await openChromium(chromium, sentences);
// An application's own page at this origin, without the policy of the site's pages.
const html = { contentType: "text/html", body: "<!doctype html><title>An application</title>" };
await page.route(`${site}/application`, (route) => route.fulfill(html));
await page.goto(`${site}/application`);
await page.addScriptTag({ content: await readFile(bundle, "utf8") });

const STARTED = "output_audio_buffer.started";
const STOPPED = "output_audio_buffer.stopped";
const TRUNCATED = "conversation.item.truncated";
const numRun = () => page.evaluate(() => window.call.run.length);

const scenarios = {
  async tools() {
    await untilUnderstood(async () => {
      const before = await numTold(page, STOPPED);
      await say(page, 0);
      return (await isTold(page, STOPPED, before)) && (await numRun()) > 0;
    });
  },

  async interrupts() {
    await untilUnderstood(async () => {
      const [before, ended] = [await numTold(page, STARTED), await numTold(page, STOPPED)];
      await say(page, 0);
      if (!(await isTold(page, STARTED, before))) return false;
      await say(page, 1);
      await Promise.race([isTold(page, TRUNCATED), isTold(page, STOPPED, ended)]);
      return (await numTold(page, TRUNCATED)) > 0;
    });
    await isTold(page, STOPPED, await numTold(page, STOPPED)); // of the answer to that
  },
};

try {
  await page.evaluate(async ([origin, wanted]) => {
    const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebRTC, tool } = window.OpenAIAgentsRealtime;
    const sound = document.createElement("audio");
    sound.autoplay = true;
    let peer = null;
    const transport = new OpenAIRealtimeWebRTC({
      baseUrl: `${origin}/v1/realtime/calls`,
      useInsecureApiKey: true,
      audioElement: sound,
      changePeerConnection: (made) => (peer = made),
    });
    const unfit = [];
    let cut = null;
    // Every event is emitted as "*"; one that fits the SDK's schemas is emitted by its own name too.
    transport.on("*", (event) => {
      if (event.type === "conversation.item.truncated") cut = event.item_id;
      unfit.push(event.type);
      if (event.type === "error") unfit.pop();
      else transport.once(event.type, () => unfit.splice(unfit.lastIndexOf(event.type), 1));
    });
    const run = [];
    const getBill = tool({
      name: "get_bill",
      description: "Tells what the bill is.",
      parameters: {
        type: "object",
        properties: { period: { type: "string", enum: ["current", "last"] } },
        required: ["period"],
        additionalProperties: false,
      },
      strict: true,
      execute: async (given) => {
        run.push(given);
        return JSON.stringify({ period: "current", total_dollars: 77, open_dollars: 77, due_in_days: 3 });
      },
    });
    const tools = wanted === "tools" ? [getBill] : [];
    const agent = new RealtimeAgent({ name: "Care", instructions: "You are a helpful agent.", tools });
    const session = new RealtimeSession(agent, { transport, model: "gpt-realtime" });
    const errors = [];
    session.on("error", ({ error }) => errors.push(error?.error ?? String(error)));
    await session.connect({ apiKey: "ek_none" });
    window.call = { session, peer, unfit, errors, run, cut: () => cut };
  }, [site, scenario]);
  await scenarios[scenario]();
  const found = await page.evaluate(async () => {
    const { session, peer, unfit, errors, run, cut } = window.call;
    let energy = 0;
    (await peer.getStats()).forEach((one) => (energy = Math.max(energy, one.totalAudioEnergy ?? 0)));
    const history = session.history.map((item) => ({
      isCut: item.itemId === cut(),
      type: item.type,
      role: item.role,
      status: item.status,
      text: item.content?.map((part) => part.text ?? part.transcript ?? "").join(""),
      name: item.name,
      output: item.output,
    }));
    session.close();
    return { history, unfit, errors, run, energy };
  });
  console.log(JSON.stringify({ ...found, faults }));
} catch (error) {
  console.error(error.message, faults);
  process.exitCode = 1;
} finally {
  await browser.close();
}

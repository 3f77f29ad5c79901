// node agents.mjs CHROMIUM SITE SCENARIO MICROPHONE: the unmodified browser bundle of the agents SDK
// in a call over WebRTC. Prints what came of it as one JSON document.
import { readFile } from "node:fs/promises";
import { openChromium } from "./chromium.mjs";

const [chromium, site, scenario, microphone] = process.argv.slice(2);
const bundle = new URL("node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.umd.js", import.meta.url);
const { browser, page, faults } = await openChromium(chromium, microphone);
// An application's own page at this origin, without the policy of the site's pages.
const html = { contentType: "text/html", body: "<!doctype html><title>An application</title>" };
await page.route(`${site}/application`, (route) => route.fulfill(html));
await page.goto(`${site}/application`);
await page.addScriptTag({ content: await readFile(bundle, "utf8") });

try {
  const found = await page.evaluate(async ([origin, wanted]) => {
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
    const told = [];
    const unfit = [];
    // Every event is emitted as "*"; one that fits the SDK's schemas is emitted by its own name too.
    transport.on("*", (event) => {
      told.push(event.type);
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
    const stopped = (count) =>
      new Promise((resolve) => {
        transport.on("*", ({ type }) => type === "output_audio_buffer.stopped" && --count === 0 && resolve());
      });
    const ended = stopped(1);
    await session.connect({ apiKey: "ek_none" });
    await ended;
    await new Promise((resolve) => setTimeout(resolve, 500));
    let energy = 0;
    (await peer.getStats()).forEach((one) => (energy = Math.max(energy, one.totalAudioEnergy ?? 0)));
    const history = session.history.map((item) => ({
      type: item.type,
      role: item.role,
      status: item.status,
      text: item.content?.map((part) => part.text ?? part.transcript ?? "").join(""),
      name: item.name,
      output: item.output,
    }));
    session.close();
    return { history, told, unfit, errors, run, energy };
  }, [site, scenario]);
  console.log(JSON.stringify({ ...found, faults }));
} catch (error) {
  console.error(error.message, faults);
  process.exitCode = 1;
} finally {
  await browser.close();
}

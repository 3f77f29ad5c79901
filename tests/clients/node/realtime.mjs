// node realtime.mjs WS_URL SCENARIO: talks to a site with the unmodified Realtime client of the
// agents SDK and prints what came of it as one JSON document.
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

const [url, scenario] = process.argv.slice(2);
const told = [];
const unfit = [];

function open(tools = []) {
  const transport = new OpenAIRealtimeWebSocket({ url });
  // Every event is emitted as "*"; one that fits the SDK's schemas is emitted by its own name too.
  transport.on("*", (event) => {
    told.push(event.type);
    unfit.push(event.type);
    if (event.type === "error") unfit.pop();
    else transport.once(event.type, () => unfit.splice(unfit.lastIndexOf(event.type), 1));
  });
  const agent = new RealtimeAgent({ name: "Care", instructions: "You are a helpful agent.", tools });
  const config = { outputModalities: ["text"] };
  const session = new RealtimeSession(agent, { transport, model: "gpt-4o-realtime", config });
  const errors = [];
  session.on("error", ({ error }) => errors.push(error?.error ?? String(error)));
  return { session, transport, errors };
}

function answers(transport, count) {
  return new Promise((resolve) => {
    transport.on("turn_done", () => {
      if (--count === 0) setTimeout(resolve, 50);
    });
  });
}

function result({ session, errors }) {
  const history = session.history.map((item) => ({
    type: item.type,
    role: item.role,
    status: item.status,
    text: item.content?.map((part) => part.text ?? part.transcript).join(""),
    name: item.name,
    output: item.output,
  }));
  return { history, told, unfit, errors, usage: session.usage.totalTokens };
}

const scenarios = {
  async answers() {
    const opened = open();
    await opened.session.connect({ apiKey: "fh_test_secret" });
    const answered = answers(opened.transport, 1);
    opened.session.sendMessage("hi");
    await answered;
    opened.session.close();
    return result(opened);
  },

  async tools() {
    const pay = tool({
      name: "pay_bill",
      description: "Pays.",
      parameters: z.object({ amount: z.number() }),
      execute: async ({ amount }) => `paid ${amount}`,
    });
    const opened = open([pay]);
    await opened.session.connect({ apiKey: "fh_test_secret" });
    const answered = answers(opened.transport, 2);
    opened.session.sendMessage("pay 40");
    await answered;
    opened.session.close();
    return result(opened);
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);

// node chat.mjs BASE_URL SCENARIO: asks a site with the unmodified openai client and prints what
// came back as one JSON document.
import OpenAI from "openai";

const [baseURL, scenario] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "fh_test_secret", maxRetries: 0 });
const messages = [{ role: "user", content: "hi" }];
const pay = {
  type: "function",
  function: { name: "pay_bill", parameters: { type: "object", properties: {} } },
};

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    const { status, code, param, requestID } = error;
    return { kind: error.constructor.name, status, code, param, requestID };
  }
  return null;
}

const scenarios = {
  async answers() {
    const { data: whole, request_id: requestID } = await client.chat.completions
      .create({ model: "default", messages })
      .withResponse();
    const stream = await client.chat.completions.create({
      model: "default",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const models = await client.models.list();
    return { whole, requestID, chunks, models: models.data.map((model) => model.id) };
  },

  async tools() {
    const runner = client.chat.completions.stream({ model: "default", messages, tools: [pay] });
    const { message, finish_reason } = (await runner.finalChatCompletion()).choices[0];
    return { calls: message.tool_calls, finish_reason };
  },

  async errors() {
    const create = client.chat.completions.create.bind(client.chat.completions);
    return {
      shed: await refusal(create({ model: "default", messages })),
      malformed: await refusal(create({ model: "default", messages, n: 2 })),
      missing: await refusal(client.models.retrieve("other")),
    };
  },

  async leaves() {
    const stream = await client.chat.completions.create({ model: "default", messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) break;
    }
    return {};
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));

// What was said, as a list that grows: words, tool calls and where each turn's time went.

const SPEAKERS = { caller: "You", assistant: "Assistant" };
const KINDS = {
  wait: ["endpoint", "queue", "admission"],
  hear: ["ingress", "asr"],
  think: ["prompt", "link", "prefill", "decode", "upstream"],
  act: ["tool"],
  speak: ["tts", "pacing", "egress"],
};

export class Transcript {
  #list;
  #lines = new Map();

  constructor(list) {
    this.#list = list;
  }

  // More words of a line; `id` is new or that of a line there is.
  add(id, who, words) {
    this.#line(id, who).querySelector(".words").append(words);
    this.#list.parentElement.scrollIntoView({ block: "end", behavior: "smooth" });
  }

  // The whole of a line at once.
  set(id, who, words) {
    this.#line(id, who).querySelector(".words").textContent = words;
  }

  cut(id) {
    this.#lines.get(id)?.classList.add("is-cut");
  }

  // A tool that the site ran, as an item `mcp_call`.
  tool(call) {
    const line = this.#line(call.id, "tool", "");
    line.querySelector(".words").textContent = `${call.name}(${call.arguments}) → ${call.output}`;
  }

  // `turn`: stages up to the first sound in ms by name, `ttft_ms` and `budget_ms`.
  stages(id, turn) {
    const stages = Object.entries(turn.ttft_stages ?? {}).filter(([, ms]) => ms >= 1);
    const line = this.#lines.get(id);
    if (!line || !stages.length) return;
    const box = document.createElement("div");
    box.className = "stages quiet";
    box.append(bar(stages, turn.budget_ms ?? 0));
    const first = document.createElement("strong");
    first.className = turn.budget_ms && turn.ttft_ms > turn.budget_ms ? "over" : "";
    first.textContent = `${Math.round(turn.ttft_ms)} ms to the first sound`;
    box.append(first, turn.budget_ms ? ` (budget ${Math.round(turn.budget_ms)} ms): ` : ": ");
    box.append(...stages.map(([name, ms]) => stageName(name, ms)));
    line.append(box);
  }

  clear() {
    this.#lines.clear();
    this.#list.replaceChildren();
  }

  #line(id, who, speaker = SPEAKERS[who]) {
    let line = this.#lines.get(id);
    if (!line) {
      line = document.createElement("li");
      line.className = who;
      line.append(span("speaker", speaker), span("words", ""));
      this.#lines.set(id, line);
      this.#list.append(line);
    }
    return line;
  }
}

// Stages side by side, to scale, with the budget as a line.
function bar(stages, budget_ms) {
  const total = stages.reduce((sum, [, ms]) => sum + ms, 0);
  const scale = 1000 / Math.max(total, budget_ms);
  const svg = node("svg", { viewBox: "0 0 1000 16", preserveAspectRatio: "none", role: "img" });
  svg.append(node("title", {}, stages.map(([name, ms]) => `${name} ${Math.round(ms)} ms`).join(", ")));
  let at = 0;
  for (const [name, ms] of stages) {
    svg.append(node("rect", { x: at * scale, y: 3, width: ms * scale, height: 10, class: kindOf(name) }));
    at += ms;
  }
  if (budget_ms) {
    const x = Math.min(998, budget_ms * scale);
    svg.append(node("rect", { x, y: 0, width: 2, height: 16, fill: "currentColor" }));
  }
  return svg;
}

function stageName(name, ms) {
  const stage = span("stage", "");
  const mark = node("svg", { viewBox: "0 0 8 8", "aria-hidden": "true" });
  mark.append(node("rect", { width: 8, height: 8, class: kindOf(name) }));
  stage.append(mark, `${name} ${Math.round(ms)}`);
  return stage;
}

function kindOf(name) {
  return Object.keys(KINDS).find((kind) => KINDS[kind].includes(name)) ?? "think";
}

function span(className, words) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = words;
  return made;
}

function node(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

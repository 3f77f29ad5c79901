// What was said, as a list that grows: words, tool calls and where each turn's time went.

const COLOURS = ["#4c8dd6", "#58a88b", "#c9a24b", "#b56fc1", "#d4776a", "#7f8fa3", "#6c7bd0"];

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

  tool(id, name, args, result) {
    const line = document.createElement("div");
    line.className = "tool";
    line.textContent = `${name}(${args})${result ? ` → ${result}` : ""}`;
    this.#line(id, "assistant").append(line);
  }

  // `turn`: stages in ms by name, `ttft_ms` and `budget_ms`.
  stages(id, turn) {
    const stages = Object.entries(turn.stages ?? {}).filter(([, ms]) => ms >= 1);
    const line = this.#lines.get(id);
    if (!line || !stages.length) return;
    const box = document.createElement("div");
    box.className = "stages quiet";
    const words = document.createElement("span");
    const isOver = turn.budget_ms && turn.ttft_ms > turn.budget_ms;
    words.className = isOver ? "over" : "";
    words.textContent = turn.ttft_ms
      ? `first sound after ${Math.round(turn.ttft_ms)} ms of ${Math.round(turn.budget_ms)} ms: `
      : "";
    const parts = stages.map(([name, ms]) => `${name} ${Math.round(ms)}`).join(", ");
    box.append(bar(stages, turn.budget_ms ?? 0), words, `${parts} ms`);
    line.append(box);
  }

  clear() {
    this.#lines.clear();
    this.#list.replaceChildren();
  }

  #line(id, who) {
    let line = this.#lines.get(id);
    if (!line) {
      line = document.createElement("li");
      line.className = who;
      const speaker = document.createElement("span");
      speaker.className = "speaker";
      speaker.textContent = who === "caller" ? "You" : "Assistant";
      const words = document.createElement("span");
      words.className = "words";
      line.append(speaker, words);
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
  stages.forEach(([, ms], index) => {
    const fill = COLOURS[index % COLOURS.length];
    svg.append(node("rect", { x: at * scale, y: 3, width: ms * scale, height: 10, fill }));
    at += ms;
  });
  if (budget_ms) {
    const x = Math.min(998, budget_ms * scale);
    svg.append(node("rect", { x, y: 0, width: 2, height: 16, fill: "currentColor" }));
  }
  return svg;
}

function node(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// The sums: a card for each class, and one for the work of all.

import { element, setClass, setText, svg } from "/static/element.js";
import {
  CLASSES,
  FATES,
  burnWord,
  cell,
  count,
  objectiveOf,
  percent,
  rate,
  time,
} from "/static/figures.js";
import { fateBar } from "/static/fate_bar.js";

const STATES = { bad: "burning fast", warn: "burning", good: "within objective", "": "no budgets" };
const NUM_POINTS = 300;
const SECONDS_A_POINT = 5;
const [WIDTH, HEIGHT] = [300, 60];

export class ClassCards {
  #cards;
  #work = new WorkCard();

  constructor(place) {
    this.#cards = CLASSES.map((name) => new ClassCard(name));
    place.replaceChildren(...this.#cards.map((card) => card.node), this.#work.node);
  }

  // What was before the page was opened: for each of `points`, P50 and P99 by class.
  fill(points) {
    this.#cards.forEach((card, rank) => card.fill(points.map((point) => point[rank])));
  }

  show({ total, objectives, own }) {
    this.#cards.forEach((card, rank) => {
      card.show(cell(total.classes[rank]), objectives[rank], own?.burning[CLASSES[rank]] ?? []);
    });
    this.#work.show(total);
  }
}

class ClassCard {
  #figures = {};
  #isUsed;
  #state = element("span", { class: "state" });
  #chart = new Chart();

  constructor(name) {
    this.#isUsed = name !== "batch";
    const figure = (key, label) => {
      this.#figures[key] = element("dd", {}, "–");
      return element("div", {}, element("dt", {}, label), this.#figures[key]);
    };
    this.node = element(
      "article",
      { class: "card", "aria-label": `Class ${name}` },
      element("h3", {}, name, this.#state),
      element("dl", { class: "big" }, figure("attainment", "met"), figure("p99", "P99")),
      this.#chart.node,
      element(
        "dl",
        {},
        figure("p50", "P50"),
        figure("burn10s", "burn 10 s"),
        figure("burn1m", "burn 1 m"),
        figure("objective", "objective"),
        figure("turns", "turns"),
        figure("rules", "rules firing here"),
      ),
    );
  }

  fill(points) {
    this.#chart.fill(points);
  }

  show(figures, objective, burning) {
    const now = figures ?? {};
    // Where nobody sends batch work, its card would only say so.
    this.#isUsed ||= figures !== null;
    this.node.hidden = !this.#isUsed;
    setText(this.#figures.attainment, percent(now.attainment));
    setText(this.#figures.p99, time(now.p99));
    setText(this.#figures.p50, time(now.p50));
    setText(this.#figures.burn10s, rate(now.burn10s));
    setText(this.#figures.burn1m, rate(now.burn1m));
    setText(this.#figures.objective, objectiveOf(objective));
    setText(this.#figures.turns, count(now.turns));
    const word = burnWord(now.burn1m);
    setText(this.#figures.rules, burning.join(", "));
    this.#figures.rules.parentElement.hidden = !burning.length;
    setText(this.#state, figures ? STATES[word] : "no turns");
    setClass(this.#state, `state ${word}`);
    setClass(this.node, `card class ${word}`);
    this.#chart.add(now.p50 ?? null, now.p99 ?? null);
  }
}

// P50 and P99 of five minutes, a point for each second.
class Chart {
  #points = [];
  #p50 = svg("polyline", { class: "p50" });
  #p99 = svg("polyline", { class: "p99" });
  #top = element("span", {});

  constructor() {
    const box = {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    };
    this.node = element(
      "figure",
      { class: "chart" },
      svg("svg", box, this.#p50, this.#p99),
      element("figcaption", {}, this.#top),
    );
  }

  // Points of five seconds each.
  fill(points) {
    this.#points = points.flatMap((point) => Array(SECONDS_A_POINT).fill(point));
    this.#points.splice(0, this.#points.length - NUM_POINTS);
  }

  add(p50, p99) {
    this.#points.push([p50, p99]);
    if (this.#points.length > NUM_POINTS) this.#points.shift();
    const top = Math.max(0, ...this.#points.map(([, high]) => high ?? 0));
    setText(this.#top, top ? `P99 and P50, 5 min, up to ${time(top)}` : "");
    this.#draw(this.#p50, 0, top);
    this.#draw(this.#p99, 1, top);
  }

  #draw(line, index, top) {
    const first = NUM_POINTS - this.#points.length;
    const drawn = this.#points.map((point, number) => [first + number, point[index]]);
    const known = drawn.filter(([, ms]) => ms !== null);
    const y = (ms) => (HEIGHT - 2 - (ms / top) * (HEIGHT - 6)).toFixed(1);
    line.setAttribute("points", known.map(([x, ms]) => `${x},${y(ms)}`).join(" "));
  }
}

class WorkCard {
  #tokens = element("dd", {}, "–");
  #sessions = element("dd", {}, "–");
  #bar = element("div", {});
  #counts = FATES.map(() => element("dd", {}, "–"));

  constructor() {
    this.node = element(
      "article",
      { class: "card class", "aria-label": "Work" },
      element("h3", {}, "work"),
      element(
        "dl",
        { class: "big" },
        element("div", {}, element("dt", {}, "tokens/s"), this.#tokens),
        element("div", {}, element("dt", {}, "sessions"), this.#sessions),
      ),
      this.#bar,
      element(
        "dl",
        { class: "fates" },
        FATES.map((fate, rank) =>
          element(
            "div",
            {},
            element("dt", {}, element("span", { class: `key ${fate}` }), fate),
            this.#counts[rank],
          ),
        ),
      ),
    );
  }

  show({ tokens_per_s, num_sessions, num_by_fate }) {
    setText(this.#tokens, count(tokens_per_s));
    setText(this.#sessions, count(num_sessions));
    this.#bar.replaceChildren(fateBar(num_by_fate));
    this.#counts.forEach((node, rank) => setText(node, count(num_by_fate[rank])));
  }
}

// Turns that were late, shed or failed, the newest first.

import { element } from "/static/element.js";
import { clock, time } from "/static/figures.js";

const MAX_NUM_ROWS = 50;

export class TurnList {
  #body;
  #none;
  #seen = new Set();

  constructor(table, none) {
    this.#body = table.querySelector("tbody");
    this.#none = none;
  }

  // The newest first. After a lost connection the site tells again what it told before.
  add(turns) {
    const fresh = turns.filter((turn) => !this.#seen.has(nameOf(turn)));
    for (const turn of fresh) this.#seen.add(nameOf(turn));
    this.#body.prepend(...fresh.map(rowOf));
    while (this.#body.children.length > MAX_NUM_ROWS) this.#body.lastChild.remove();
    this.#none.hidden = this.#body.children.length > 0;
    if (this.#seen.size > 20 * MAX_NUM_ROWS) this.#seen = new Set(turns.map(nameOf));
  }
}

const nameOf = (turn) => `${turn.started_at} ${turn.request_id}`;

function rowOf(turn) {
  const ending = turn.outcome === "answered" ? "late" : turn.outcome;
  const link = element(
    "a",
    { href: `#turn/${encodeURIComponent(turn.request_id)}`, title: turn.request_id },
    turn.request_id,
  );
  return element(
    "tr",
    {},
    element("td", { "data-label": "Began" }, clock(turn.started_at)),
    element("th", { scope: "row", class: "mono" }, link),
    element("td", { "data-label": "Class" }, turn.class),
    element(
      "td",
      { "data-label": "Ended", class: `state ${ending === "late" ? "warn" : "bad"}` },
      ending,
    ),
    element("td", { "data-label": "First content", class: "number" }, time(turn.ttft_ms)),
    element("td", { "data-label": "Budget", class: "number" }, time(turn.budget_ms)),
    element("td", { "data-label": "Path" }, turn.path.join(" › ") || "–"),
    element(
      "td",
      { "data-label": "Why" },
      (turn.outcome === "shed" && turn.reason) || turn.error || turn.reason || "–",
    ),
  );
}

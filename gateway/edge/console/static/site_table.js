// All sites, those in trouble first. Rows stay; only what has changed in them is written.

import { element, setClass, setText } from "/static/element.js";
import { STALE_MS, age, burnWord, cell, count, percent, rate, time } from "/static/figures.js";
import { fateBar, fateWords } from "/static/fate_bar.js";

const NUM_ROWS = matchMedia("(max-width: 48rem)").matches ? 8 : 20;
const NUM_TILES_FROM = 12;
const STALE_ON_FABRIC_MS = 10_000;
const SHOWN = ["voice", "agent"];
const STATES = {
  here: "this site",
  usable: "usable",
  linked: "no turns",
  seen: "on the fabric",
  unlinked: "unlinked",
};

const classColumns = SHOWN.flatMap((name, rank) => [
  {
    head: "met",
    group: name,
    number: true,
    value: (site) => site.classes[rank]?.attainment,
    text: percent,
  },
  { head: "P50", group: name, number: true, value: (site) => site.classes[rank]?.p50, text: time },
  { head: "P99", group: name, number: true, value: (site) => site.classes[rank]?.p99, text: time },
  {
    head: "burn",
    group: name,
    number: true,
    value: (site) => site.classes[rank]?.burn1m,
    text: rate,
    word: burnWord,
  },
]);
const COLUMNS = [
  { head: "Site", value: (site) => site.name },
  { head: "State", value: (site) => -site.severity },
  ...classColumns,
  { head: "tok/s", number: true, value: (site) => site.tokens, text: count },
  { head: "sess.", number: true, value: (site) => site.sessions, text: count },
  { head: "free", number: true, value: (site) => site.free, text: null },
  { head: "went", value: (site) => site.fates[1] + site.fates[3], text: null },
  { head: "RTT", number: true, value: (site) => site.rtt, text: time },
  { head: "model", value: (site) => site.model, text: (model) => model || "–" },
  { head: "age", number: true, value: (site) => site.age, text: age },
];

export class SiteTable {
  #part;
  #rows = new Map();
  #tiles = new Map();
  #heads = [];
  #order = { column: 1, isDown: false };
  #showsAll = false;
  #shown = null;

  constructor(part) {
    this.#part = part;
    this.#at("thead").append(...this.#headRows());
    const again = () => this.#shown && this.show(...this.#shown);
    this.#at("#search").addEventListener("input", again);
    this.#at("#only-trouble").addEventListener("change", again);
    this.#at("#more").addEventListener("click", () => {
      this.#showsAll = !this.#showsAll;
      again();
    });
  }

  // `oldMs`: how long ago the glance came.
  show(glance, oldMs) {
    this.#shown = [glance, oldMs];
    const ownModel = glance.sites[0]?.models?.join() ?? "";
    const sites = glance.sites.map((row) => siteOf(row, oldMs, ownModel));
    const wanted = sites
      .filter((site) => this.#isWanted(site))
      .sort((one, other) => this.#compare(one, other));
    const shown = this.#showsAll ? wanted : wanted.slice(0, NUM_ROWS);
    this.#place(shown);
    this.#showTiles(sites);
    const bad = sites.filter((site) => site.severity > 0).length;
    setText(
      this.#at("#sites-sum"),
      `${count(sites.length)}, ${bad ? `${count(bad)} in trouble` : "none in trouble"}`,
    );
    const more = this.#at("#more");
    more.hidden = wanted.length <= NUM_ROWS;
    setText(
      more,
      this.#showsAll ? `Show the first ${NUM_ROWS}` : `Show all ${count(wanted.length)}`,
    );
  }

  #headRows() {
    const groups = [];
    for (const { group = "" } of COLUMNS) {
      if (groups.at(-1)?.group === group) groups.at(-1).span += 1;
      else groups.push({ group, span: 1 });
    }
    this.#heads = COLUMNS.map((column, index) =>
      element(
        "th",
        { scope: "col", class: column.number && "number" },
        element("button", { type: "button", click: () => this.#sortBy(index) }, column.head),
      ),
    );
    return [
      element(
        "tr",
        { class: "groups" },
        groups.map(({ group, span }) =>
          group
            ? element("th", { scope: "colgroup", colspan: span }, group)
            : element("td", { colspan: span }),
        ),
      ),
      element("tr", {}, this.#heads),
    ];
  }

  #sortBy(column) {
    const isDown = this.#order.column === column && !this.#order.isDown;
    this.#order = { column, isDown };
    this.#heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.show(...this.#shown);
  }

  #compare(one, other) {
    const { value } = COLUMNS[this.#order.column];
    const [a, b] = [value(one), value(other)];
    const byName = one.name < other.name ? -1 : 1;
    if (a === b) return byName;
    if (a === undefined || a === null) return 1;
    if (b === undefined || b === null) return -1;
    return (a < b ? -1 : 1) * (this.#order.isDown ? -1 : 1);
  }

  #isWanted(site) {
    const words = this.#at("#search").value.trim().toLowerCase();
    const isFound =
      !words || `${site.name} ${site.region} ${site.words}`.toLowerCase().includes(words);
    return isFound && (!this.#at("#only-trouble").checked || site.severity > 0);
  }

  #place(sites) {
    const body = this.#at("tbody");
    const kept = new Map();
    for (const [index, site] of sites.entries()) {
      const row = this.#rows.get(site.name) ?? new SiteRow(site.name);
      row.show(site);
      kept.set(site.name, row);
      if (body.children[index] !== row.node)
        body.insertBefore(row.node, body.children[index] ?? null);
    }
    while (body.children.length > sites.length) body.lastChild.remove();
    this.#rows = kept;
  }

  // A map of many sites, for those who look from afar; the table says the same in words.
  #showTiles(sites) {
    const place = this.#at("#tiles");
    place.hidden = sites.length < NUM_TILES_FROM;
    if (place.hidden) return;
    const kept = new Map();
    for (const [index, site] of [...sites]
      .sort((one, other) => (one.name < other.name ? -1 : 1))
      .entries()) {
      const tile = this.#tiles.get(site.name) ?? tileOf(site.name);
      setClass(tile, `tile ${site.word}`);
      tile.title = `${site.name}: ${site.words}`;
      kept.set(site.name, tile);
      if (place.children[index] !== tile) place.insertBefore(tile, place.children[index] ?? null);
    }
    while (place.children.length > kept.size) place.lastChild.remove();
    this.#tiles = kept;
  }

  #at(selector) {
    return this.#part.querySelector(selector);
  }
}

class SiteRow {
  #cells;
  #link;
  #fates = "";

  constructor(name) {
    this.#link = element("a", { href: `#site/${encodeURIComponent(name)}` }, name);
    this.#cells = COLUMNS.map(({ head, group, number }, index) =>
      index
        ? element("td", {
            class: number && "number",
            "data-label": group ? `${group} ${head}` : head,
          })
        : element("th", { scope: "row" }, this.#link),
    );
    this.node = element("tr", {}, this.#cells);
  }

  show(site) {
    setClass(this.node, site.isStale ? "stale" : "");
    setText(this.#cells[1], site.words);
    setClass(this.#cells[1], `state ${site.word}`);
    for (const [index, { value, text, word, number }] of COLUMNS.entries()) {
      if (!text) continue;
      setText(this.#cells[index], text(value(site)));
      if (word)
        setClass(this.#cells[index], `${number ? "number" : ""} ${word(value(site))}`.trim());
    }
    setText(
      this.#cells[this.#index("free")],
      site.slots === null ? "–" : `${site.free}/${site.slots}`,
    );
    setClass(this.#cells[this.#index("model")], site.isOtherModel ? "warn mono" : "mono");
    if (this.#fates !== site.fates.join()) {
      this.#fates = site.fates.join();
      this.#cells[this.#index("went")].replaceChildren(fateBar(site.fates));
      this.#cells[this.#index("went")].title = fateWords(site.fates);
    }
  }

  #index(head) {
    return COLUMNS.findIndex((column) => column.head === head);
  }
}

function tileOf(name) {
  return element("span", { click: () => (location.hash = `#site/${encodeURIComponent(name)}`) });
}

function siteOf(row, oldMs, ownModel) {
  const { service } = row;
  const classes = SHOWN.map((_, rank) => cell(service?.classes[rank]));
  const figuresAge = service?.age_ms ?? row.load_age_ms ?? null;
  const ageMs = figuresAge === null ? null : figuresAge + oldMs;
  const limit = service?.source === "fabric" ? STALE_ON_FABRIC_MS : STALE_MS;
  const isStale = ageMs === null || ageMs > limit;
  const burn = Math.max(0, ...(service?.classes ?? []).map((one) => cell(one)?.burn1m ?? 0));
  const model = row.models?.map((key) => key.slice(0, 8)).join(" ") ?? "";
  const [severity, word, words] = standing(row, isStale, ageMs, burn);
  return {
    name: row.site,
    region: row.region ?? "",
    classes,
    tokens: service?.tokens_per_s ?? null,
    sessions: service?.num_sessions ?? null,
    fates: service?.num_by_fate ?? [0, 0, 0, 0, 0],
    free: row.num_free ?? null,
    slots: row.num_slots ?? null,
    rtt: row.rtt_ms ?? null,
    model,
    isOtherModel: Boolean(model && ownModel) && (row.models?.join() ?? "") !== ownModel,
    age: ageMs,
    isStale,
    severity,
    word,
    words,
  };
}

function standing(row, isStale, ageMs, burn) {
  if (row.state === "unlinked") return [3, "bad", "unlinked"];
  if (isStale) return [2, "old", ageMs === null ? "no figures" : `stale ${age(ageMs)}`];
  if (burnWord(burn) === "bad") return [4, "bad", "burning fast"];
  if (burnWord(burn) === "warn") return [1, "warn", "burning"];
  if (row.state === "ejected") return [2, "bad", "ejected"];
  if (row.state === "draining" || row.state === "slow") return [1, "warn", row.state];
  return [0, "good", STATES[row.state] ?? row.state];
}

// The console: what comes in with every second, and where it is shown. It reads, and nothing else.

import { ClassCards } from "/static/class_cards.js";
import { element, setClass, setText } from "/static/element.js";
import { Feed } from "/static/feed.js";
import { age } from "/static/figures.js";
import { siteDetail } from "/static/site_detail.js";
import { SiteTable } from "/static/site_table.js";
import { turnDetail } from "/static/turn_detail.js";
import { TurnList } from "/static/turn_list.js";

const KEY = "firsthop.key";
const LATE_MS = 2_500;
const DETAIL_MS = 2_000;

const at = (id) => document.getElementById(id);
const cards = new ClassCards(at("classes"));
const sites = new SiteTable(at("sites-part"));
const turns = new TurnList(at("turns"), at("no-turns"));

let feed = null;
let last = null;
let receivedAt = 0;
let refresh = 0;

at("ask").addEventListener("submit", useKey);
at("close").addEventListener("click", () => at("detail").close());
at("detail").addEventListener("close", leaveDetail);
at("detail").addEventListener(
  "click",
  (event) => event.target === at("detail") && at("detail").close(),
);
addEventListener("hashchange", showDetail);
setInterval(growOld, 1_000);
follow();

function follow() {
  feed?.close();
  feed = new Feed(sessionStorage.getItem(KEY) ?? "");
  feed.addEventListener("event", ({ detail }) => show(detail));
  feed.addEventListener("lost", ({ detail }) => trouble(`No figures: ${detail}. Trying again.`));
  feed.addEventListener("refused", ({ detail }) => refused(detail));
  feed.open();
}

function show(event) {
  const isFirst = last === null || last.sight !== event.sight;
  [last, receivedAt] = [event, performance.now()];
  trouble("");
  const { glance, sight } = event;
  const mayKnow = sight !== "summary";
  at("ask").hidden = mayKnow;
  at("sites-part").hidden = at("turns-part").hidden = !mayKnow;
  setText(at("site"), glance.region ? `${glance.site} · ${glance.region}` : glance.site);
  document.title = `${glance.site} · Firsthop`;
  at("talk").href = sight === "admin" ? talkAddress(event.talk) : "/talk";
  setText(at("facts"), factsOf(glance));
  setText(at("total-source"), sumOf(glance));
  if (event.recent) cards.fill(event.recent);
  cards.show(glance);
  sites.show(glance, 0);
  turns.add(event.turns);
  growOld();
  if (isFirst) showDetail();
}

// Nothing here looks newer than it is, least of all when nothing comes any more.
function growOld() {
  if (!last) return;
  const oldMs = performance.now() - receivedAt;
  const isLate = oldMs > LATE_MS;
  const words = isLate
    ? `last word ${age(oldMs)} ago`
    : last.glance.draining
      ? "live, draining"
      : "live";
  setText(at("live-words"), words);
  setClass(at("live"), isLate ? "bad" : last.glance.draining ? "warn" : "good");
  document.body.classList.toggle("is-stale", isLate);
  if (isLate) sites.show(last.glance, oldMs);
}

function factsOf({ own }) {
  if (!own) return "";
  const fabric = { true: "fabric joined", false: "the fabric is away" }[own.fabric_joined];
  const words = [
    `${own.num_turns_active} under way`,
    `${own.num_turns_for_peers} for peers`,
    fabric,
    `up ${age(own.uptime_s * 1e3)}`,
    own.version,
  ];
  return words.filter(Boolean).join(" · ");
}

function sumOf({ num_sites, num_sites_in_total, total }) {
  const oldest = total.age_ms ? `, the oldest figure ${age(total.age_ms)}` : "";
  return `${num_sites_in_total} of ${num_sites} sites in the sum${oldest}`;
}

function talkAddress({ scheme, port }) {
  return `${scheme}://${location.hostname}:${port}/talk`;
}

function useKey(event) {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  at("key").value = "";
  follow();
}

function refused(reason) {
  trouble(`Refused: ${reason}.`);
  if (!sessionStorage.getItem(KEY)) return;
  sessionStorage.removeItem(KEY);
  at("ask").hidden = false;
}

function trouble(words) {
  setText(at("trouble"), words);
  at("trouble").hidden = !words;
}

// What is open is in the address: it can be sent to a colleague, and "back" closes it.
async function showDetail() {
  clearTimeout(refresh);
  const [kind, name] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const views = { site: siteDetail, turn: turnDetail };
  if (!name || !Object.hasOwn(views, kind)) {
    at("detail").close();
    return;
  }
  const shown = location.hash;
  setText(at("detail-title"), `${kind === "site" ? "Site" : "Turn"} ${name}`);
  try {
    const body = await views[kind](feed, name);
    if (location.hash !== shown) return;
    // What the reader holds is not taken away under its fingers.
    if (!at("detail-body").contains(document.activeElement))
      at("detail-body").replaceChildren(...body);
    if (kind === "site") refresh = setTimeout(showDetail, DETAIL_MS);
  } catch (error) {
    at("detail-body").replaceChildren(element("p", { class: "bad" }, error.message));
  }
  if (!at("detail").open) at("detail").showModal();
}

function leaveDetail() {
  clearTimeout(refresh);
  at("detail-body").replaceChildren();
  if (location.hash) history.pushState(null, "", location.pathname);
}

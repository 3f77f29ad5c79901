// One site with all that is known of it, each group of figures with its source and age.

import { element, facts, table } from "/static/element.js";
import { FATES, age, burnWord, count, objectiveOf, percent, rate, time } from "/static/figures.js";

export async function siteDetail(feed, name) {
  const { state, service, slo, peer } = await feed.ask(
    `/v1/grid/sites/${encodeURIComponent(name)}`,
  );
  return (peer ? ofPeer(peer) : ofThis(state, service, slo)).filter(Boolean);
}

function ofThis(state, service, slo) {
  const { now, engine } = state;
  return [
    group("This site", now, [
      ["Region", state.region],
      ["Version", state.version],
      ["Up", age(now.uptime_s * 1e3)],
      ["Draining", now.draining ? "yes" : ""],
      ["Turns now", count(now.num_turns_active)],
      ["Sessions", count(now.num_sessions)],
      ["Capacity", percent(now.capacity_ratio)],
      ["Engine restarts", count(now.num_engine_restarts)],
      ["Records in memory", count(now.num_records_kept)],
    ]),
    ...state.models.map((model) =>
      group(`Model ${model.model_id}`, null, [
        ["Version", model.version],
        ["Precision", model.precision],
        ["Tools", model.tools],
        ["Context", `${count(model.max_context_tokens)} tokens`],
        ["Digest", element("span", { class: "mono" }, model.digest)],
      ]),
    ),
    served(service),
    objectives(slo),
    engine &&
      group("Engine", engine, [
        ["Slots", `${engine.num_active} of ${engine.num_slots} taken`],
        ["Queued", count(engine.num_queued)],
        ["Prefill", `${time(engine.prefill_ms_per_token)} a token`],
        ["Decode", `${time(engine.decode_step_ms)} a step`],
        ["Cached prompt", percent(engine.cached_ratio)],
      ]),
    !engine && element("p", { class: "bad" }, "There is no engine."),
  ];
}

function ofPeer(peer) {
  const { report, fabric } = peer;
  return [
    group("Link", peer.age_ms === null ? null : peer, [
      ["State", peer.state + (peer.slow ? ", slow" : "")],
      ["Ejected for", peer.ejected_for_ms === null ? "" : age(peer.ejected_for_ms)],
      ["Ejections lately", peer.num_ejections ? count(peer.num_ejections) : ""],
      ["Known from", peer.known_from],
      ["Peer port", peer.address],
      ["Round trip", time(peer.rtt_ms)],
      ["Last error", peer.last_error],
      ["Dialled again in", peer.retry_in_ms === null ? "" : age(peer.retry_in_ms)],
      ["Turns there now", count(peer.num_turns)],
      ["Offered", count(peer.num_offered)],
      ["Accepted", count(peer.num_accepted)],
      ["Refused", count(peer.num_refused)],
      ["Lost", count(peer.num_lost)],
      [
        "Its console",
        peer.addresses
          .filter(isWeb)
          .map((url) => element("a", { href: url, rel: "noreferrer" }, url, " ")),
      ],
    ]),
    served(peer.service),
    report &&
      group("Load", report, [
        ["State", report.state],
        ["Free", `${report.num_free} of ${report.num_slots} slots`],
        ["Capacity", percent(report.capacity_ratio)],
        ["Prefill", `${time(report.prefill_ms_per_token)} a token`],
        ...Object.entries(report.wait_ms).map(([name, ms]) => [`Wait of ${name}`, time(ms)]),
      ]),
    fabric &&
      group("Fabric", fabric, [
        ["There", fabric.there ? "yes" : "no"],
        [
          "Last report",
          fabric.report_age_ms === null ? "none" : `${age(fabric.report_age_ms)} ago`,
        ],
      ]),
  ];
}

function served(service) {
  if (!service)
    return element("p", { class: "quiet" }, "It has said nothing of how it serves its callers.");
  const rows = Object.entries(service.classes).map(([name, one]) => ({
    cells: [
      name,
      percent(one.attainment_ratio),
      count(one.num_met),
      count(one.num_missed),
      time(one.p50_ms),
      time(one.p99_ms),
      burn(one.burn_rate_10s),
      burn(one.burn_rate_1m),
    ],
  }));
  return element(
    "section",
    {},
    title("Service of its own callers, last minute", service),
    facts([
      ["Tokens/s", count(service.answer_tokens_per_s)],
      ["Sessions", count(service.num_sessions)],
      ["Went", FATES.map((fate) => `${count(service.num_by_fate[fate])} ${fate}`).join(", ")],
    ]),
    table(
      "By class",
      ["Class", "Met", "Kept", "Missed", "P50", "P99", "Burn 10 s", "Burn 1 m"],
      rows,
    ),
  );
}

function objectives(slo) {
  const rows = Object.entries(slo.classes).flatMap(([name, one]) => {
    const firing = one.rules
      .filter((rule) => rule.is_burning)
      .map((rule) => rule.name)
      .join(", ");
    return {
      cells: [
        `${name} (${objectiveOf(one.objective_ratio)})`,
        ...one.windows.map((window) => burn(window.burn_rate)),
        firing || "–",
      ],
    };
  });
  const windows = Object.values(slo.classes)[0].windows.map((window) => window.window);
  return element(
    "section",
    {},
    title("Error budget: burn rate by window", null),
    table("By class and its objective", ["Class", ...windows, "Rules that fire"], rows),
  );
}

function group(name, told, pairs) {
  return element(
    "section",
    {},
    title(name, told),
    facts(pairs.filter(([, value]) => !Array.isArray(value) || value.length)),
  );
}

function title(name, told) {
  const source = told && `${told.source}, ${told.age_ms < 100 ? "now" : `${age(told.age_ms)} old`}`;
  return element("h3", {}, name, source && element("span", { class: "quiet" }, ` ${source}`));
}

const burn = (figure) => element("span", { class: burnWord(figure) }, rate(figure));
const isWeb = (url) => /^https?:\/\//.test(url);

// One turn: where its time went at every site, what was decided, and what the alternatives were.

import { element, facts, svg, table } from "/static/element.js";
import { time } from "/static/figures.js";

export async function turnDetail(feed, id) {
  const turn = await feed.ask(`/v1/requests/${encodeURIComponent(id)}`);
  return [factsOf(turn), waterfall(turn), ...turn.decisions.map(decision)];
}

function factsOf(turn) {
  const ending = [turn.outcome, turn.error || turn.finish].filter(Boolean).join(", ");
  return facts([
    ["Ended", element("span", { class: turn.outcome === "answered" ? "" : "bad" }, ending)],
    ["Budget", verdict(turn)],
    ["Class", turn.class],
    [
      "Began",
      `${turn.started_at} by ${turn.tenant || "nobody known"}${turn.interface && ` over ${turn.interface}`}`,
    ],
    ["Path", turn.path.join(" › ")],
    ["Model", turn.model],
    ["Escalated", [turn.escalation, turn.escalation_error].filter(Boolean).join(", ")],
    [
      "Took",
      `${time(turn.duration_ms)}; ${turn.usage.prompt_tokens} prompt tokens (${turn.usage.cached_tokens} cached), ` +
        `${turn.usage.completion_tokens} answer tokens`,
    ],
    ["Tools", turn.tools_run.join(", ")],
    ["Moved", turn.num_resumes ? `${turn.num_resumes}× to another engine` : ""],
    ["Left out", turn.messages_left_out ? `${turn.messages_left_out} older messages, for lack of time` : ""],
    ["Session", turn.session],
    ["Trace", element("span", { class: "mono" }, turn.trace_id)],
  ]);
}

function verdict(turn) {
  const content = turn.ttft_ms === null ? "no content" : `first content at ${time(turn.ttft_ms)}`;
  if (turn.budget_ms === null) return `none; ${content}`;
  if (turn.within_budget === null) return `${time(turn.budget_ms)}; ${content}, not judged`;
  const word = turn.within_budget ? "met" : "missed";
  return element(
    "span",
    { class: turn.within_budget ? "good" : "bad" },
    `${time(turn.budget_ms)}; ${content}: ${word}`,
  );
}

function waterfall(turn) {
  const endMs = Math.max(turn.duration_ms, turn.budget_ms ?? 0, 0.001);
  const scale = { endMs, budgetMs: turn.budget_ms, contentMs: turn.ttft_ms };
  const here = turn.stages.map((stage) => ({
    ...stage,
    site: turn.path[0] || turn.site || "here",
  }));
  const rows = [...here, ...turn.peer_stages.flatMap((peer) => peerStages(peer, here))];
  if (!rows.length) return element("p", { class: "quiet" }, "No stage was begun.");
  const body = rows.map((stage) => ({
    class: stage.isElsewhere ? "elsewhere" : "",
    cells: [
      stage.stage,
      stage.site,
      stage.isElsewhere ? "–" : time(stage.offset_ms),
      time(stage.duration_ms),
      bar(stage, scale),
    ],
  }));
  return element(
    "div",
    { class: "waterfall" },
    table(
      `Stages; the picture is ${time(endMs)} wide`,
      ["Stage", "Site", "From", "Took", "Where"],
      body,
    ),
    element(
      "p",
      { class: "legend" },
      turn.budget_ms !== null && [
        element("span", { class: "key budget" }),
        `budget ${time(turn.budget_ms)} `,
      ],
      turn.ttft_ms !== null && [
        element("span", { class: "key content" }),
        `first content ${time(turn.ttft_ms)} `,
      ],
      turn.peer_stages.length > 0 &&
        "What another site says of its part follows what this one saw of it. " +
          "Its lengths are measured, on its own clock; their places are not.",
    ),
  );
}

// Laid end to end from where this site began to wait for the other.
function peerStages(peer, here) {
  const waiting = here.find((stage) =>
    ["link", "upstream", "queue", "prefill"].includes(stage.stage),
  );
  let offset = waiting?.offset_ms ?? 0;
  return Object.entries(peer.took_ms).map(([stage, tookMs]) => {
    offset += tookMs;
    return {
      stage,
      site: peer.site,
      offset_ms: offset - tookMs,
      duration_ms: tookMs,
      isElsewhere: true,
    };
  });
}

function bar(stage, { endMs, budgetMs, contentMs }) {
  const x = (ms) => Math.min(100, (ms / endMs) * 100);
  const late =
    !stage.isElsewhere &&
    budgetMs !== null &&
    stage.offset_ms + stage.duration_ms > budgetMs &&
    stage.offset_ms < (contentMs ?? endMs);
  const line = (ms, name) =>
    ms !== null && svg("line", { class: name, x1: x(ms), x2: x(ms), y1: 0, y2: 10 });
  return svg(
    "svg",
    {
      class: "stage-bar",
      viewBox: "0 0 100 10",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    svg("rect", {
      class: late ? "late" : stage.isElsewhere ? "peer" : "own",
      x: Math.min(99.6, x(stage.offset_ms)),
      y: 1.5,
      height: 7,
      width: Math.max(0.4, x(stage.duration_ms)),
    }),
    line(budgetMs, "budget"),
    line(contentMs, "content"),
  );
}

function decision(made, index) {
  const where = made.chosen ? `sent to ${made.chosen}` : "shed";
  const left =
    made.remaining_ms === null
      ? ""
      : `, ${time(made.remaining_ms)} of ${time(made.budget_ms)} left`;
  const rows = made.candidates.map((candidate) => {
    const isChosen = Boolean(made.chosen) && candidate.site === made.chosen;
    return {
      class: isChosen ? "chosen" : "",
      cells: [
        candidate.site,
        isChosen ? "chosen" : "not taken",
        time(candidate.predicted_ms),
        time(candidate.margin_ms),
        time(candidate.report_age_ms),
        candidate.reason,
      ],
    };
  });
  return element(
    "section",
    {},
    element("h3", {}, `Decision ${index + 1}: ${where}, because ${made.reason}${left}`),
    rows.length > 0 &&
      table("Candidates", ["Site", "", "Predicted", "Margin", "Report age", "Verdict"], rows),
  );
}

// Figures as people read them. Times come in ms.

export const CLASSES = ["voice", "agent", "batch"];
export const FATES = ["here", "forwarded", "escalated", "shed", "failed"];
export const STALE_MS = 3_000;
export const FAST_BURN = 14.4;
const NONE = "–";

export function time(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 9_999.5) return `${ms.toFixed(0)} ms`;
  return age(ms);
}

export function age(ms) {
  if (ms === null || ms === undefined) return NONE;
  const s = ms / 1e3;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${s.toFixed(0)} s`;
  if (s < 7_200) return `${(s / 60).toFixed(0)} min`;
  return s < 172_800 ? `${(s / 3_600).toFixed(0)} h` : `${(s / 86_400).toFixed(0)} days`;
}

export function percent(ratio) {
  if (ratio === null || ratio === undefined) return NONE;
  // Rounded down: 99.97 % must not read as 100.
  const digits = ratio === 1 ? 0 : ratio >= 0.99 ? 2 : 1;
  return `${(Math.floor(ratio * 100 * 10 ** digits) / 10 ** digits).toFixed(digits)} %`;
}

export function objectiveOf(ratio) {
  return `${+(ratio * 100).toFixed(3)} %`;
}

export function rate(burn) {
  if (burn === null || burn === undefined) return NONE;
  return burn < 9.95 ? `${burn.toFixed(1)}×` : `${burn.toFixed(0)}×`;
}

export function count(number) {
  if (number === null || number === undefined) return NONE;
  return number.toLocaleString("en", { maximumFractionDigits: number < 100 ? 1 : 0 });
}

export function clock(instant) {
  const moment = new Date(instant);
  return Number.isNaN(moment.getTime()) ? NONE : moment.toLocaleTimeString([], { hour12: false });
}

export function cell(array) {
  if (!array) return null;
  const [turns, attainment, burn10s, burn1m, p50, p99] = array;
  return { turns, attainment, burn10s, burn1m, p50, p99 };
}

// How bad a burn rate is, in a word that stands beside the colour.
export function burnWord(burn) {
  if (burn === null || burn === undefined) return "";
  if (burn >= FAST_BURN) return "bad";
  return burn > 1 ? "warn" : "good";
}

// Where turns went, as a bar. Its figures always stand beside it or in its label.

import { svg } from "/static/element.js";
import { FATES, count } from "/static/figures.js";

export function fateBar(numByFate) {
  const total = numByFate.reduce((sum, number) => sum + number, 0);
  const box = {
    class: "fate-bar",
    viewBox: "0 0 100 10",
    preserveAspectRatio: "none",
    role: "img",
  };
  let x = 0;
  const parts = numByFate.map((number, rank) => {
    const width = total ? (number / total) * 100 : 0;
    x += width;
    return width
      ? svg("rect", { class: FATES[rank], x: x - width, y: 0, width, height: 10 })
      : null;
  });
  return svg(
    "svg",
    { ...box, "aria-label": fateWords(numByFate) },
    svg("title", {}, fateWords(numByFate)),
    parts,
  );
}

export function fateWords(numByFate) {
  const words = FATES.map(
    (fate, rank) => numByFate[rank] && `${count(numByFate[rank])} ${fate}`,
  ).filter(Boolean);
  return words.join(", ") || "no turns";
}

// Time series of both cohorts: drawn by uPlot, and as tables, PNG and CSV.

import uPlot from "./vendor/uPlot.js";

/** @typedef {import("./api.js").Point} Point */
/** @typedef {import("./api.js").Decision} Decision */

/**
 * The charts: `name` is a key of strings.js, `of` returns a point's values, of canary and stable or of the share alone.
 *
 * @type {{ name: "errors" | "p95" | "low_confidence" | "share", unit: "%" | "ms", of: (point: Point) => (number | null)[] }[]}
 */
const KINDS = [
  { name: "errors", unit: "%", of: ({ canary, stable }) => [percent(canary.errors), percent(stable.errors)] },
  { name: "p95", unit: "ms", of: ({ canary, stable }) => [canary.latency_ms?.p95 ?? null, stable.latency_ms?.p95 ?? null] },
  { name: "low_confidence", unit: "%", of: ({ canary, stable }) => [percent(canary.low_confidence), percent(stable.low_confidence)] },
  { name: "share", unit: "%", of: ({ share_basis_points: share }) => [share === null ? null : share / 100] },
];

/** Number of minutes in a chart's table, the latest ones. */
const ROWS = 30;

/** @param {number | null} part */
const percent = (part) => (part === null ? null : 100 * part);
/** @param {number} at_ms */
const minute = (at_ms) => new Date(at_ms).toISOString().slice(0, 16).replace("T", " ");

/**
 * Puts the charts below `root`. Returns a function that draws them; it does nothing if nothing changed.
 *
 * @param {HTMLElement} root
 */
export function charts(root) {
  /** @type {uPlot[]} */
  const plots = [];
  let drawn = "";

  /** @param {Point[]} points @param {Decision[]} decisions @param {Record<string, string>} words */
  return function draw(points, decisions, words) {
    const key = `${points.length} ${points.at(-1)?.at_ms} ${decisions.at(-1)?.id} ${words.title} ${root.clientWidth}`;
    if (key === drawn) return;
    drawn = key;
    // Each chart is drawn in its own task; together they would delay the user's input.
    KINDS.forEach((kind, at) => setTimeout(() => {
      if (key !== drawn) return;
      const before = root.children.item(at);
      plots[at]?.destroy();
      const next = figure(kind, at);
      if (before?.querySelector("details")?.open) next.querySelector("details")?.setAttribute("open", "");
      if (before) before.replaceWith(next);
      else root.append(next);
    }));

    /** @param {KINDS[number]} kind @param {number} at */
    function figure({ name, unit, of }, at) {
      const times = points.map(({ at_ms }) => at_ms / 1_000);
      const values = points.map(of);
      const names = values[0]?.length === 1 || name === "share" ? [words.share] : [words.canary, words.stable];
      const data = [times, ...names.map((_, at) => values.map((row) => row[at] ?? null))];
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const title = document.createElement("strong");
      title.textContent = `${words[name]} (${unit})`;
      caption.append(title);
      const holder = document.createElement("div");
      figure.append(caption, holder);
      const colours = [colour("--accent"), colour("--mark")];
      const plot = new uPlot(
        {
          width: Math.max(260, Math.min(root.clientWidth, 560) - 8),
          height: 180,
          // Times are in UTC, as in all data of the gateway.
          axes: [{ ...axis(), values: (_plot, ticks) => ticks.map((seconds) => minute(seconds * 1_000).slice(11)) }, { ...axis(), size: 56 }],
          series: [{}, ...names.map((label, at) => ({ label, stroke: colours[at], width: 2, dash: at ? [6, 3] : undefined, points: { show: points.length < 40 } }))],
          scales: { y: { range: (_plot, _low, high) => [0, Math.max(high ?? 0, unit === "%" ? 1 : 10) * 1.1] } },
          hooks: { draw: [(chart) => marks(chart, decisions)] },
          legend: { live: false },
        },
        /** @type {any} */ (data),
        holder,
      );
      plots[at] = plot;
      const canvas = plot.ctx.canvas;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${words[name]}: ${words.table}`);
      caption.append(
        button(words.png, `${words[name]} ${words.png}`, () => canvas.toBlob((blob) => blob && save(blob, `${name}.png`))),
        button(words.csv, `${words[name]} ${words.csv}`, () => save(new Blob([csv(names, points, values)], { type: "text/csv" }), `${name}.csv`)),
      );
      figure.append(twin(names, points, values, unit, words));
      return figure;
    }
  };
}

function axis() {
  return { stroke: colour("--quiet"), grid: { stroke: colour("--faint"), width: 1 }, ticks: { stroke: colour("--faint") } };
}

/** @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draws a dotted line at each change of the share. @param {uPlot} chart @param {Decision[]} decisions */
function marks(chart, decisions) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = colour("--fault");
  ctx.setLineDash([2, 4]);
  let share = -1;
  for (const { at_ms, share_basis_points } of decisions) {
    if (share_basis_points === share) continue;
    share = share_basis_points;
    const x = chart.valToPos(at_ms / 1_000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** @param {string[]} names @param {Point[]} points @param {(number | null)[][]} values */
function csv(names, points, values) {
  const rows = points.map(({ at_ms }, at) => [minute(at_ms), ...values[at].map((value) => value ?? "")].join(","));
  return [["minute", ...names].join(","), ...rows, ""].join("\n");
}

/** A chart's last minutes as a table, the latest first. @param {string[]} names @param {Point[]} points @param {(number | null)[][]} values @param {string} unit @param {Record<string, string>} words */
function twin(names, points, values, unit, words) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = words.table;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of [words.minute, ...names]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const at of [...points.keys()].slice(-ROWS).reverse()) {
    const row = body.insertRow();
    const shown = values[at].map((value) => (value === null ? "–" : `${value.toFixed(unit === "%" ? 2 : 0)} ${unit}`));
    for (const text of [minute(points[at].at_ms), ...shown]) row.insertCell().textContent = text;
  }
  details.append(summary, table);
  return details;
}

/** @param {string} text @param {string} label @param {() => void} act */
function button(text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

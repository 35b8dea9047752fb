// Time series of both cohorts: drawn by uPlot, and as tables, PNG and CSV.

import uPlot from "./vendor/uPlot.js";

/** @typedef {import("./api.js").Point} Point */
/** @typedef {import("./api.js").Decision} Decision */

/**
 * The charts: `name` is a key of strings.js, `getValues` returns a point's values: canary and stable, or the share alone.
 *
 * @type {{ name: "errors" | "p95" | "low_confidence" | "share", unit: "%" | "ms", getValues: (point: Point) => (number | null)[] }[]}
 */
const KINDS = [
  { name: "errors", unit: "%", getValues: ({ canary, stable }) => [toPercent(canary.errors), toPercent(stable.errors)] },
  { name: "p95", unit: "ms", getValues: ({ canary, stable }) => [canary.latency_ms?.p95 ?? null, stable.latency_ms?.p95 ?? null] },
  { name: "low_confidence", unit: "%", getValues: ({ canary, stable }) => [toPercent(canary.low_confidence), toPercent(stable.low_confidence)] },
  { name: "share", unit: "%", getValues: ({ share_basis_points: share }) => [share === null ? null : share / 100] },
];

/** Number of minutes in a chart's table, the latest ones. */
const TABLE_ROWS = 30;

/** @param {number | null} share */
const toPercent = (share) => (share === null ? null : 100 * share);
/** @param {number} at_ms */
const formatMinute = (at_ms) => new Date(at_ms).toISOString().slice(0, 16).replace("T", " ");

/**
 * Puts the charts below `root`. Returns a function that draws them; it does nothing if nothing changed.
 *
 * @param {HTMLElement} root
 */
export function createCharts(root) {
  /** @type {uPlot[]} */
  const plots = [];
  let drawnKey = "";

  /** @param {Point[]} points @param {Decision[]} decisions @param {Record<string, string>} words */
  return function draw(points, decisions, words) {
    const key = `${points.length} ${points.at(-1)?.at_ms} ${decisions.at(-1)?.id} ${words.title} ${root.clientWidth}`;
    if (key === drawnKey) return;
    drawnKey = key;
    // Each chart is drawn in its own task; together they would delay the user's input.
    KINDS.forEach((kind, index) => setTimeout(() => {
      if (key !== drawnKey) return;
      const previous = root.children.item(index);
      plots[index]?.destroy();
      const replacement = createFigure(kind, index);
      if (previous?.querySelector("details")?.open) replacement.querySelector("details")?.setAttribute("open", "");
      if (previous) previous.replaceWith(replacement);
      else root.append(replacement);
    }));

    /** @param {KINDS[number]} kind @param {number} index */
    function createFigure({ name, unit, getValues }, index) {
      const times = points.map(({ at_ms }) => at_ms / 1_000);
      const values = points.map(getValues);
      const names = values[0]?.length === 1 || name === "share" ? [words.share] : [words.canary, words.stable];
      const data = [times, ...names.map((_, index) => values.map((row) => row[index] ?? null))];
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const title = document.createElement("strong");
      title.textContent = `${words[name]} (${unit})`;
      caption.append(title);
      const container = document.createElement("div");
      figure.append(caption, container);
      const colours = [readColour("--accent"), readColour("--mark")];
      const plot = new uPlot(
        {
          width: Math.max(260, Math.min(root.clientWidth, 560) - 8),
          height: 180,
          // Times are in UTC, as in all data of the gateway.
          axes: [{ ...axis(), values: (_plot, ticks) => ticks.map((seconds) => formatMinute(seconds * 1_000).slice(11)) }, { ...axis(), size: 56 }],
          series: [{}, ...names.map((label, i) => ({ label, stroke: colours[i], width: 2, dash: i ? [6, 3] : undefined, points: { show: points.length < 40 } }))],
          scales: { y: { range: (_plot, _low, high) => [0, Math.max(high ?? 0, unit === "%" ? 1 : 10) * 1.1] } },
          hooks: { draw: [(chart) => drawShareChanges(chart, decisions)] },
          legend: { live: false },
        },
        /** @type {any} */ (data),
        container,
      );
      plots[index] = plot;
      const canvas = plot.ctx.canvas;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${words[name]}: ${words.table}`);
      caption.append(
        createButton(words.png, `${words[name]} ${words.png}`, () => canvas.toBlob((blob) => blob && saveFile(blob, `${name}.png`))),
        createButton(words.csv, `${words[name]} ${words.csv}`, () => saveFile(new Blob([formatCsv(names, points, values)], { type: "text/csv" }), `${name}.csv`)),
      );
      figure.append(createTable(names, points, values, unit, words));
      return figure;
    }
  };
}

function axis() {
  return { stroke: readColour("--quiet"), grid: { stroke: readColour("--faint"), width: 1 }, ticks: { stroke: readColour("--faint") } };
}

/** @param {string} name */
function readColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draws a dotted line at each change of the share. @param {uPlot} chart @param {Decision[]} decisions */
function drawShareChanges(chart, decisions) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = readColour("--fault");
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
function formatCsv(names, points, values) {
  const rows = points.map(({ at_ms }, index) => [formatMinute(at_ms), ...values[index].map((value) => value ?? "")].join(","));
  return [["minute", ...names].join(","), ...rows, ""].join("\n");
}

/** A chart's last minutes as a table, the latest first. @param {string[]} names @param {Point[]} points @param {(number | null)[][]} values @param {string} unit @param {Record<string, string>} words */
function createTable(names, points, values, unit, words) {
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
  for (const index of [...points.keys()].slice(-TABLE_ROWS).reverse()) {
    const row = body.insertRow();
    const cells = values[index].map((value) => (value === null ? "–" : `${value.toFixed(unit === "%" ? 2 : 0)} ${unit}`));
    for (const text of [formatMinute(points[index].at_ms), ...cells]) row.insertCell().textContent = text;
  }
  details.append(summary, table);
  return details;
}

/** @param {string} text @param {string} label @param {() => void} onClick */
function createButton(text, label, onClick) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.setAttribute("aria-label", label);
  element.addEventListener("click", onClick);
  return element;
}

/** @param {Blob} blob @param {string} name */
function saveFile(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

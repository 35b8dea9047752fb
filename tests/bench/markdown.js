// Tables in Markdown.

/** @param {{ head: string[], rows: string[][] }} table */
export function formatMarkdownTable({ head, rows }) {
  const formatRow = (/** @type {string[]} */ row) => `| ${row.join(" | ")} |`;
  return [formatRow(head), `|${head.map(() => "---|").join("")}`, ...rows.map(formatRow)].join("\n");
}

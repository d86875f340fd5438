import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** One series of a plot. */
export interface Series {
  label: string;
  /** By label of the x axis, or points of their own; undefined: no value there. */
  values: readonly (number | undefined)[];
  /** Least and greatest of the rounds; drawn as a line over the bar. */
  spread?: readonly (readonly [number, number] | undefined)[];
}

export interface Plot {
  kind: "bar" | "line";
  title: string;
  x: readonly string[];
  xTitle?: string;
  yTitle: string;
  isLogarithmic?: boolean;
  series: readonly Series[];
}

export interface Table {
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

export interface Section {
  heading: string;
  /** Paragraphs of plain text. */
  text?: readonly string[];
  plots?: readonly Plot[];
  table?: Table;
}

const COLORS = ["#2563eb", "#dc2626", "#16a34a", "#d97706", "#7c3aed", "#0891b2", "#db2777", "#4b5563"];

/** A page that stands for itself: plots, tables, and all figures as JSON, without the network. */
export function htmlReport(title: string, subtitle: string, sections: readonly Section[], data: unknown): string {
  const plots: Plot[] = [];
  const body = sections.map((section) => {
    const text = (section.text ?? []).map((words) => `<p>${escaped(words)}</p>`).join("\n");
    const drawn = (section.plots ?? []).map((plot) => `<figure><canvas id="plot-${plots.push(plot) - 1}"></canvas></figure>`);
    const table = section.table === undefined ? "" : tableOf(section.table);
    return `<section><h2>${escaped(section.heading)}</h2>${text}<div class="plots">${drawn.join("")}</div>${table}</section>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1f2937; }
h1 { margin-bottom: 0 } .subtitle { color: #6b7280 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem } figure { margin: 0 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e5e7eb; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
</style></head><body>
<h1>${escaped(title)}</h1><p class="subtitle">${escaped(subtitle)}</p>
${body.join("\n")}
<script type="application/json" id="data">${JSON.stringify(data).replaceAll("<", "\\u003c")}</script>
<script>${chartLibrary()}</script>
<script>${DRAW}</script>
<script>${JSON.stringify(plots.map(chartOf)).replaceAll("<", "\\u003c")}.forEach(draw);</script>
</body></html>
`;
}

/** Chart.js, whole. */
function chartLibrary(): string {
  const main = createRequire(import.meta.url).resolve("chart.js");
  return readFileSync(join(dirname(main), "chart.umd.min.js"), "utf8").replaceAll("</script", "<\\/script");
}

interface Chart {
  config: object;
  spreads: ((readonly [number, number] | null)[] | null)[];
}

function chartOf({ kind, title, x, xTitle, yTitle, isLogarithmic = false, series }: Plot): Chart {
  const datasets = series.map(({ label, values }, i) => ({
    label,
    data: values.map((value) => value ?? null),
    backgroundColor: COLORS[i % COLORS.length],
    borderColor: COLORS[i % COLORS.length],
    borderWidth: kind === "line" ? 2 : 0,
    spanGaps: true,
    tension: 0.1,
  }));
  const config = {
    type: kind,
    data: { labels: x, datasets },
    options: {
      animation: false,
      plugins: { title: { display: true, text: title }, legend: { position: "bottom" } },
      scales: {
        x: { title: { display: xTitle !== undefined, text: xTitle ?? "" } },
        y: { type: isLogarithmic ? "logarithmic" : "linear", beginAtZero: true, title: { display: true, text: yTitle } },
      },
    },
  };
  const spreads = series.map(({ spread }) => (spread === undefined ? null : spread.map((range) => range ?? null)));
  return { config, spreads };
}

/** Runs in the page: draws a plot, and over its bars lines from the least to the greatest value. */
const DRAW = `function draw(chart, index) {
  const whiskers = { id: "whiskers", afterDatasetsDraw(c) {
    c.data.datasets.forEach((set, s) => {
      const spread = chart.spreads[s];
      if (!spread || !c.isDatasetVisible(s)) return;
      c.getDatasetMeta(s).data.forEach((bar, i) => {
        if (!spread[i]) return;
        const y = spread[i].map((value) => c.scales.y.getPixelForValue(value));
        c.ctx.save(); c.ctx.strokeStyle = "#111"; c.ctx.lineWidth = 1; c.ctx.beginPath();
        c.ctx.moveTo(bar.x, y[0]); c.ctx.lineTo(bar.x, y[1]);
        for (const end of y) { c.ctx.moveTo(bar.x - 4, end); c.ctx.lineTo(bar.x + 4, end); }
        c.ctx.stroke(); c.ctx.restore();
      });
    });
  } };
  new Chart(document.getElementById("plot-" + index), { ...chart.config, plugins: [whiskers] });
}`;

function tableOf({ head, rows }: Table): string {
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<table>${row(head, "th")}${rows.map((cells) => row(cells, "td")).join("\n")}</table>`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The table as text, its columns in line. */
export function textTable({ head, rows }: Table): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((cells) => (cells[column] ?? "").length)));
  return all
    .map((cells) =>
      cells
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

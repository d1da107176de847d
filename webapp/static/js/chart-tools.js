// The buttons in a chart's head: reset zoom, save as SVG, PNG or CSV, full screen.
// Saved pictures carry the title and are always light, as a paper needs them.

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-chart-action]");
  if (!button) return;
  const chart = button.closest(".chart");
  const action = button.dataset.chartAction;
  if (action === "fullscreen") fullscreen(chart);
  else if (!chart.vadlab?.figure) return;
  else if (action === "reset") chart.vadlab.reset();
  else if (action === "csv") saveTable(chart);
  else savePicture(chart, action);
});

async function fullscreen(chart) {
  if (document.fullscreenElement) {
    document.exitFullscreen();
    return;
  }
  try {
    await chart.requestFullscreen();
  } catch {
    const text = "The browser does not give this page the full screen.";
    document.dispatchEvent(new CustomEvent("vadlab:notify", { detail: { tone: "warning", text } }));
  }
}

function fileName(chart, suffix) {
  const title = chart.querySelector("[data-chart-title]")?.textContent || "figure";
  const words = title.toLowerCase().match(/[\p{L}\p{N}.]+/gu) || ["figure"];
  return `${words.join("-").slice(0, 80)}.${suffix}`;
}

async function savePicture(chart, format) {
  const { plot, figure, themed } = chart.vadlab;
  const width = Math.max(640, plot.clientWidth);
  const height = Math.max(360, plot.clientHeight) + 40;
  const { data, layout } = themed(figure, { scheme: "light", width, title: true });
  // What is on the screen is what is saved: the zoom and the hidden curves.
  for (const key of ["xaxis", "yaxis"]) {
    const shown = plot._fullLayout?.[key];
    if (shown) Object.assign(layout[key], { range: [...shown.range], autorange: false });
  }
  plot._fullData?.forEach((trace) => {
    if (data[trace.index]) data[trace.index].visible = trace.visible;
  });
  layout.paper_bgcolor = "#ffffff";
  layout.plot_bgcolor = "#ffffff";
  const url = await window.Plotly.toImage(
    { data, layout },
    { format, width, height, scale: format === "png" ? 2 : 1 },
  );
  download(url, fileName(chart, format));
}

function saveTable(chart) {
  const { figure } = chart.vadlab;
  if (figure.csv?.href) {
    download(figure.csv.href, fileName(chart, "csv"));
    return;
  }
  const { columns, rows } = figure.csv || table(figure);
  const text = [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  const url = URL.createObjectURL(new Blob([`${text}\r\n`], { type: "text/csv" }));
  download(url, fileName(chart, "csv"));
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The traces' points, one a row: what it belongs to, then x and y under the axes' titles. */
function table(figure) {
  const { xaxis, yaxis } = figure.layout;
  const columns = ["curve", xaxis?.title?.text || "x", yaxis?.title?.text || "y"];
  const rows = [];
  for (const trace of figure.data) {
    (trace.x || []).forEach((x, i) => rows.push([trace.name || "", x, trace.y?.[i]]));
  }
  return { columns, rows };
}

/** A cell as RFC 4180 wants it; text that a spreadsheet would run as a formula is quoted off. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function download(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

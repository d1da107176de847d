// A figure in the colours of the page: the figure names roles, this file finds their colours.

const probe = document.createElement("span");
probe.hidden = true;

/** The colour that a CSS value has now, or would have under a colour scheme ("light", "dark"). */
function colour(value, scheme = "") {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.colorScheme = scheme;
  probe.style.color = value;
  return getComputedStyle(probe).color;
}

/** Plain text of a plotly.js text, in which names are escaped. */
export function unescaped(text) {
  return new DOMParser().parseFromString(text, "text/html").body.textContent;
}

/** A deep copy of a figure's part with "var(--name)" replaced by that variable's colour. */
function resolved(value, scheme) {
  if (typeof value === "string") return value.startsWith("var(--") ? colour(value, scheme) : value;
  if (Array.isArray(value)) {
    // Plotly writes into what it gets (ranges), so even plain arrays are copied.
    const scalar = typeof value[0] === "number";
    return scalar ? value.slice() : value.map((item) => resolved(item, scheme));
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolved(v, scheme)]));
  }
  return value;
}

function themedAxis(axis, tone, narrow) {
  const { title, ...rest } = axis || {};
  return {
    gridcolor: tone.grid,
    gridwidth: 1,
    linecolor: tone.axis,
    showline: true,
    zeroline: false,
    ticks: "outside",
    ticklen: 4,
    tickcolor: tone.axis,
    tickfont: { color: tone.muted, size: 11 },
    nticks: narrow ? 5 : 8,
    spikecolor: tone.muted,
    spikethickness: 1,
    spikedash: "solid",
    spikemode: "across",
    spikesnap: "cursor",
    ...rest,
    title: { standoff: 8, ...title, font: { color: tone.muted, size: 12 } },
  };
}

/** Traces and layout in the colours of a theme; `width` decides what is left out. */
export function themed(figure, { scheme = "", width = 800, title = false } = {}) {
  const tone = {
    text: colour("var(--text)", scheme),
    muted: colour("var(--muted)", scheme),
    grid: colour("var(--chart-grid)", scheme),
    axis: colour("var(--chart-axis)", scheme),
    line: colour("var(--line-strong)", scheme),
    surface: colour("var(--surface)", scheme),
  };
  const family = getComputedStyle(document.body).fontFamily;
  const narrow = width < 520;
  const given = resolved(figure.layout, scheme);
  const layout = {
    ...given,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family, size: 12, color: tone.text },
    margin: { l: 8, r: 14, t: title ? 48 : 8, b: 8, pad: 0, autoexpand: true },
    dragmode: "zoom",
    hoverdistance: 40,
    hoverlabel: {
      bgcolor: tone.surface,
      bordercolor: tone.line,
      font: { family, size: 12, color: tone.text },
      namelength: 40,
    },
    legend: {
      bgcolor: tone.surface.replace(/^rgb\((.*)\)$/, "rgba($1, 0.82)"),
      font: { size: narrow ? 11 : 12, color: tone.text },
      tracegroupgap: 0,
      itemwidth: 30,
      ...given.legend,
      ...(narrow ? { orientation: "h", x: 0, xanchor: "left", y: 1.01, yanchor: "bottom" } : {}),
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: tone.muted, activecolor: tone.text },
  };
  for (const key of Object.keys(layout).filter((k) => /^[xy]axis\d*$/.test(k))) {
    layout[key] = themedAxis(given[key], tone, narrow && key.startsWith("x"));
  }
  const data = resolved(figure.data, scheme);
  for (const bar of data.map((trace) => trace.colorbar || trace.marker?.colorbar)) {
    if (!bar) continue;
    const { title, tickfont } = themedAxis(bar, tone, narrow);
    Object.assign(bar, { title, tickfont, outlinewidth: 0 });
  }
  if (figure.layout.hovermode === "y unified") {
    layout.xaxis.showspikes = layout.yaxis.showspikes = false; // bars show themselves
  }
  if (readsOut(figure)) {
    // Our own readout stands beside the cursor, never on it; Plotly only says what is there.
    layout.hovermode = "x";
    layout.xaxis.showspikes = true;
    layout.yaxis.showspikes = false;
    for (const trace of data) {
      if (trace.hoverinfo !== "skip") Object.assign(trace, { hoverinfo: "none", hovertemplate: "" });
    }
  }
  if (title) {
    const font = { size: 15, color: tone.text };
    layout.title = { text: given.title?.text || "", x: 0, xref: "container", pad: { l: 14 }, font };
  } else {
    delete layout.title;
  }
  return { data, layout };
}

/** Whether all curves are read at one x by our own readout. */
export function readsOut(figure) {
  return figure.layout.hovermode === "x unified";
}

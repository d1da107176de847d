// Charts: finds figure.chart elements, gets their figure JSON (contract: webapp/charts/__init__.py)
// and draws it with Plotly in the colours of the page's theme.
//
//   data-figure-src="url"      the figure's JSON         data-figure="id"     a json_script instead
//   data-figure-zoom-src="url" asked with ?from=&to= for the raw points of a zoomed range (on an axis
//                              of time, in seconds)
//   data-figure-group="name"   charts of one group share the cursor
//   data-figure-eager          drawn at once, not when it comes near the window: for printing
//   data-live                  asked again every 3 s while visible, until a figure says live: false
//
// Events on the element: "vadlab:figure" (detail: the figure) after each drawing. The element's
// `vadlab` property is for other modules: {figure, plot, themed(scheme), reset(), reload(keepZoom)};
// reload asks again after data-figure-src was changed.

import { forget, readout, shareCursor } from "./chart-cursor.js";
import { themed, unescaped } from "./chart-theme.js";

const PERIOD_MS = 3000;
const SETTLE_MS = 180; // after the last zoom step, before raw points are asked for
const CONFIG = {
  displayModeBar: false, // our own tools are in the head
  displaylogo: false,
  doubleClick: "reset",
  showTips: false,
  responsive: false, // a ResizeObserver sees more: menus, full screen, folded rails
};

const charts = new Map(); // element -> state

// ---- one chart ------------------------------------------------------------------------------

function attach(element) {
  if (charts.has(element)) return;
  const state = {
    element,
    plot: element.querySelector("[data-chart-plot]"),
    figure: null,
    text: "", // the last answer, to skip drawing the same again
    range: null, // [from, to] while zoomed into raw points
    wanted: 0, // number of the newest request
    stale: false, // its source changed while it was out of sight
    seen: false,
    drawn: false,
  };
  charts.set(element, state);
  element.vadlab = {
    get figure() {
      return state.figure;
    },
    plot: state.plot,
    themed,
    reset: () => reset(state),
    reload: (keepZoom) => reload(state, keepZoom),
  };
  seen.observe(element);
  resized.observe(state.plot);
  if ("figureEager" in element.dataset) load(state);
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const state = charts.get(entry.target);
      if (!state) continue;
      state.seen = entry.isIntersecting;
      if (state.seen && (!state.figure || state.stale)) load(state);
    }
  },
  { rootMargin: "300px" },
);

const resized = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const state = charts.get(entry.target.closest(".chart"));
    if (state?.drawn && entry.contentRect.width > 0) window.Plotly.Plots.resize(state.plot);
  }
});

async function load(state) {
  const { element } = state;
  if (element.dataset.figure) {
    const source = document.getElementById(element.dataset.figure);
    if (source && source.textContent !== state.text) {
      state.text = source.textContent;
      await draw(state, JSON.parse(source.textContent));
    }
    return;
  }
  const mine = ++state.wanted;
  state.stale = false;
  const base = state.range ? element.dataset.figureZoomSrc : element.dataset.figureSrc;
  const url = new URL(base, location.href);
  if (state.range) {
    url.searchParams.set("from", String(state.range[0]));
    url.searchParams.set("to", String(state.range[1]));
  }
  let text;
  try {
    const answer = await fetch(url, {
      headers: { Accept: "application/json" },
      credentials: "same-origin",
    });
    text = await answer.text();
    if (mine !== state.wanted) return; // a newer request is under way
    if (!answer.ok) throw new Error(reason(text, answer.status));
    if (text === state.text) return;
    const figure = JSON.parse(text);
    state.text = text;
    await draw(state, figure);
  } catch (error) {
    if (mine !== state.wanted) return;
    if (!state.figure) message(state, error.message || "The figure could not be loaded.");
    else note(state, "not current: the server does not answer");
  }
}

/** The message of the API's one error shape, else the status. */
function reason(text, status) {
  try {
    const body = JSON.parse(text);
    const error = body.error || body;
    return [error.message, error.hint].filter(Boolean).join(" ") || `Answer ${status}.`;
  } catch {
    return `The figure could not be loaded (${status}). Reload the page.`;
  }
}

function message(state, text) {
  const place = state.element.querySelector("[data-chart-message]");
  place.hidden = !text;
  place.textContent = text;
}

function note(state, text) {
  const place = state.element.querySelector("[data-chart-note]");
  if (place) place.textContent = text;
}

function isEmpty(figure) {
  return !figure.data.some((t) => (t.x?.length || t.z?.length || t.y?.length) && t.hoverinfo !== "skip");
}

async function plotly() {
  if (window.Plotly) return window.Plotly;
  // Deferred scripts run in order, so this waits only when the library came late.
  await new Promise((done) => window.addEventListener("load", done, { once: true }));
  return window.Plotly;
}

async function draw(state, figure) {
  const { element, plot } = state;
  const Plotly = await plotly();
  if (!Plotly || !element.isConnected) return;
  state.figure = figure;
  const title = element.querySelector("[data-chart-title]");
  const text = unescaped(figure.layout.title?.text || "");
  if (title && text && title.textContent !== text) title.textContent = text;
  element.querySelector("[data-chart-alt]").textContent = figure.alt || "";
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", figure.alt || text);
  note(state, figure.note || "");
  if (isEmpty(figure)) {
    message(state, element.dataset.empty || "No values yet.");
    if (state.drawn) Plotly.purge(plot);
    state.drawn = false;
    return;
  }
  message(state, "");
  const { data, layout } = themed(figure, { width: plot.clientWidth });
  // The range that a person chose holds over what the figure says; uirevision keeps the rest.
  await Plotly.react(plot, data, layout, CONFIG);
  if (!state.drawn) listen(state);
  state.drawn = true;
  element.dispatchEvent(new CustomEvent("vadlab:figure", { bubbles: true, detail: figure }));
}

// ---- zoom -----------------------------------------------------------------------------------

function listen(state) {
  const { plot } = state;
  let timer;
  plot.on("plotly_relayout", (change) => {
    if ("xaxis.range[0]" in change || "xaxis.range" in change) {
      const axis = plot._fullLayout.xaxis;
      const scale = state.figure.x_scale || 1;
      const ends = axis.range.map((v) => scale * (axis.type === "log" ? 10 ** v : Number(v)));
      clearTimeout(timer);
      timer = setTimeout(() => zoomed(state, ends), SETTLE_MS);
    } else if (change["xaxis.autorange"]) {
      clearTimeout(timer);
      zoomed(state, null);
    }
    showReset(state, isZoomed(state));
  });
  plot.on("plotly_doubleclick", () => {
    clearTimeout(timer);
    zoomed(state, null);
  });
  plot.on("plotly_hover", (event) => {
    readout(state, event.points);
    shareCursor(state, others(state), event.points);
  });
  plot.on("plotly_unhover", () => {
    readout(state, []);
    others(state).forEach(forget);
  });
}

function zoomed(state, range) {
  if (!state.element.dataset.figureZoomSrc) return;
  const same = JSON.stringify(range) === JSON.stringify(state.range);
  if (same) return;
  state.range = range;
  load(state);
}

/** Ask again, as the address in data-figure-src changed; without its zoom if the x axis did. */
function reload(state, keepZoom) {
  if (!keepZoom) {
    state.range = null;
    showReset(state, false);
  }
  if (state.seen) load(state);
  else state.stale = true;
}

function axesOf(figure) {
  return Object.keys(figure.layout).filter((key) => /^[xy]axis\d*$/.test(key));
}

function isZoomed(state) {
  return axesOf(state.figure).some((key) => {
    const now = state.plot._fullLayout[key];
    const { range } = state.figure.layout[key];
    if (!range) return !now.autorange;
    const slack = 1e-6 * Math.abs(range[1] - range[0]);
    return range.some((end, i) => Math.abs(end - now.range[i]) > slack);
  });
}

function showReset(state, on) {
  const button = state.element.querySelector('[data-chart-action="reset"]');
  if (button) button.hidden = !on;
}

/** Back to the ranges of the figure, as a double click does. */
function reset(state) {
  if (!state.drawn) return;
  const update = {};
  for (const key of axesOf(state.figure)) {
    const { range } = state.figure.layout[key];
    if (range) update[`${key}.range`] = [...range];
    else update[`${key}.autorange`] = true;
  }
  window.Plotly.relayout(state.plot, update);
  zoomed(state, null);
}

/** The drawn and visible charts of the same group. */
function others(state) {
  const group = state.element.dataset.figureGroup;
  if (!group) return [];
  return [...charts.values()].filter(
    (other) =>
      other !== state && other.drawn && other.seen && other.element.dataset.figureGroup === group,
  );
}

// ---- the page ---------------------------------------------------------------------------------

function attachAll() {
  for (const [element, state] of charts) if (!element.isConnected) detach(state);
  for (const element of document.querySelectorAll("[data-figure-src], [data-figure]")) attach(element);
}

function detach(state) {
  charts.delete(state.element);
  seen.unobserve(state.element);
  resized.unobserve(state.plot);
  if (state.drawn) window.Plotly.purge(state.plot);
  state.drawn = false;
}

// Fired for every element that htmx is about to remove: Plotly must let go of it first.
document.addEventListener("htmx:beforeCleanupElement", (event) => {
  const state = charts.get(event.target);
  if (state) detach(state);
});
document.addEventListener("htmx:afterSettle", attachAll);

document.addEventListener("vadlab:theme", () => {
  for (const state of charts.values()) if (state.figure) draw(state, state.figure);
});

function refresh() {
  if (document.hidden) return;
  for (const state of charts.values()) {
    const { element, figure } = state;
    if (!state.seen || !("live" in element.dataset)) continue;
    if (figure && figure.live === false) continue;
    load(state);
  }
}
setInterval(refresh, PERIOD_MS);
document.addEventListener("visibilitychange", refresh);
window.addEventListener("beforeprint", () => {
  for (const state of charts.values()) if (!state.figure) load(state);
});

attachAll();

// The operating point of a comparison: where every ROC curve stands at one false-positive rate.
// The slider, a ring that is dragged, or the cursor over the ROC plot say which; the table and the
// rings of both charts follow. The rate is kept in the address as ?fpr=.
//
// Charts carry what is needed: traces with meta.key and customdata [threshold, third rate], rings
// with meta.ring (webapp/charts/curves.py).

const STEPS = 1000;
const GRAB = 14; // px around a ring
const panel = document.querySelector("[data-operating]");
const charts = panel && {
  roc: document.getElementById(panel.dataset.roc),
  pr: document.getElementById(panel.dataset.pr),
};
const part = (name) => panel.querySelector(`[data-operating-${name}]`);

// Half of the slider is for rates below a quarter, where detectors are used.
const toRate = (value) => (Number(value) / STEPS) ** 2;
const toSlider = (rate) => Math.round(Math.sqrt(rate) * STEPS);

let pinned = null; // the rate that a person chose; null: each run at 0.5

/** The last real point of a curve that flags no more normal frames than `rate`. */
function pointAt(trace, rate) {
  let low = 0;
  let high = trace.x.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (trace.x[middle] <= rate + 1e-9) low = middle;
    else high = middle - 1;
  }
  const [threshold, precision] = trace.customdata?.[low] || [null, null];
  return { threshold, fpr: trace.x[low], tpr: trace.y[low], precision };
}

function curves(chart) {
  return (chart?.vadlab?.figure?.data || []).filter((trace) => trace.meta?.key);
}

function write(row, at) {
  for (const [name, value] of Object.entries(at)) {
    const cell = row.querySelector(`[data-operating-value="${name}"]`);
    cell.textContent = value === null || value === undefined ? "–" : value.toFixed(3);
  }
}

function show(rate, words) {
  for (const trace of curves(charts.roc)) {
    const row = panel.querySelector(`[data-operating-row="${CSS.escape(trace.meta.key)}"]`);
    if (row) write(row, pointAt(trace, rate));
  }
  part("fpr").textContent = rate.toFixed(3);
  part("words").textContent = words;
}

function moveRings(rate) {
  const at = new Map(curves(charts.roc).map((trace) => [trace.meta.key, pointAt(trace, rate)]));
  for (const [name, x, y] of [["roc", "fpr", "tpr"], ["pr", "tpr", "precision"]]) {
    const plot = charts[name]?.vadlab?.plot;
    if (!plot?.data) continue;
    const rings = plot.data.flatMap((trace, i) => (at.has(trace.meta?.ring) ? [i] : []));
    if (!rings.length) continue;
    const points = rings.map((i) => at.get(plot.data[i].meta.ring));
    const update = { x: points.map((p) => [p[x]]), y: points.map((p) => [p[y]]) };
    update.hovertemplate = points.map((p) => `threshold ${p.threshold?.toFixed(3)}<extra></extra>`);
    window.Plotly.restyle(plot, update, rings);
  }
}

function pin(rate) {
  pinned = Math.min(1, Math.max(0, rate));
  part("control").querySelector("input").value = toSlider(pinned);
  show(pinned, "each run where it flags this share of normal frames");
  moveRings(pinned);
  const address = new URL(location.href);
  address.searchParams.set("fpr", pinned.toFixed(4));
  history.replaceState(history.state, "", address);
}

/** The rate under the pointer, or null beside the plot. */
function rateOf(plot, event) {
  const axis = plot._fullLayout?.xaxis;
  if (!axis) return null;
  const x = event.clientX - plot.getBoundingClientRect().left - axis._offset;
  return x < 0 || x > axis._length ? null : Math.min(1, Math.max(0, axis.p2d(x)));
}

function nearRing(plot, event) {
  const { xaxis, yaxis } = plot._fullLayout || {};
  if (!xaxis) return false;
  const box = plot.getBoundingClientRect();
  return plot.data.some((trace) => {
    if (!trace.meta?.ring || !trace.x?.length) return false;
    const dx = event.clientX - box.left - xaxis._offset - xaxis.d2p(trace.x[0]);
    const dy = event.clientY - box.top - yaxis._offset - yaxis.d2p(trace.y[0]);
    return Math.hypot(dx, dy) <= GRAB;
  });
}

function listen() {
  const { plot } = charts.roc.vadlab;
  const slider = part("control").querySelector("input");
  slider.addEventListener("input", () => pin(toRate(slider.value)));
  let dragging = false;
  const onPointer = (name, act) => plot.addEventListener(name, act, { capture: true });
  onPointer("pointerdown", (event) => {
    if (!nearRing(plot, event)) return;
    dragging = true; // Plotly must not see it: it would zoom
    event.stopPropagation();
    event.preventDefault();
    plot.setPointerCapture(event.pointerId);
  });
  onPointer("mousedown", (event) => {
    if (dragging) event.stopPropagation();
  });
  onPointer("pointermove", (event) => {
    const rate = rateOf(plot, event);
    if (dragging && rate !== null) pin(rate);
    else if (rate !== null) show(rate, "each run at the false-positive rate under the cursor");
  });
  onPointer("pointerup", () => {
    dragging = false;
  });
  plot.addEventListener("pointerleave", () => back());
}

/** From the cursor to what was chosen; before a choice the numbers of the cursor stay. */
function back() {
  if (pinned !== null) pin(pinned);
}

if (panel && charts.roc) {
  charts.roc.addEventListener("vadlab:figure", () => {
    if (!curves(charts.roc).length) return;
    const control = part("control");
    if (control.hidden) {
      control.hidden = false;
      listen();
    }
    const asked = new URL(location.href).searchParams.get("fpr");
    if (pinned === null && asked !== null && Number.isFinite(Number(asked))) pin(Number(asked));
    else if (pinned !== null) moveRings(pinned);
  });
  charts.pr?.addEventListener("vadlab:figure", () => pinned !== null && moveRings(pinned));
}

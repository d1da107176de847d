// The hairline cursor: the values of all curves beside it, in every chart of its group.

import { readsOut, unescaped } from "./chart-theme.js";

const MOST = 12; // rows of a readout

/** Show the values under the cursor in the half of the plot where the cursor is not. */
export function readout(state, points) {
  if (!state.figure || !readsOut(state.figure)) return;
  let box = state.plot.parentElement.querySelector(".chart-readout");
  if (!box) {
    box = document.createElement("div");
    box.className = "chart-readout";
    box.setAttribute("aria-hidden", "true"); // the text alternative and the CSV have the numbers
    state.plot.parentElement.append(box);
  }
  const shown = (points || []).filter((p) => p.y !== null && p.y !== undefined);
  box.hidden = !shown.length;
  if (box.hidden) return;
  const [{ x, xaxis }] = shown;
  box.classList.toggle("is-left", xaxis.d2p(x) > xaxis._length / 2);
  shown.sort((a, b) => b.y - a.y);
  const head = document.createElement("div");
  head.textContent = `${unescaped(xaxis.title.text)} ${Number(x).toLocaleString("en-US")}`;
  box.replaceChildren(head, ...shown.slice(0, MOST).map(row));
}

function row(point) {
  const line = document.createElement("div");
  const mark = document.createElement("i");
  mark.style.background = point.data.line?.color || point.data.marker?.color || "";
  const label = document.createElement("span");
  label.textContent = unescaped(point.data.meta?.label || point.data.name);
  const value = document.createElement("b");
  value.textContent = figures(point.y);
  line.append(mark, label, value);
  return line;
}

function figures(value) {
  const size = Math.abs(value);
  const minus = value < 0 ? "−" : ""; // as on the axes
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return minus + size.toExponential(3);
  return minus + (size < 1 ? size.toFixed(4) : size.toPrecision(5));
}

/** Put the cursor at the same x in other charts. Plotly sends no event for that, so no echo. */
export function shareCursor(from, states, points) {
  if (!points?.length) return;
  const x = points[0].x * (from.figure.x_scale || 1);
  for (const state of states) {
    const axis = state.plot._fullLayout.xaxis;
    const own = x / (state.figure.x_scale || 1);
    const at = axis.type === "log" ? Math.log10(own) : own;
    const [low, high] = axis.range;
    if (at < low || at > high) {
      forget(state);
    } else {
      window.Plotly.Fx.hover(state.plot, { xval: at }, ["xy"]);
      readout(state, state.plot._hoverdata);
    }
  }
}

export function forget(state) {
  window.Plotly.Fx.unhover(state.plot);
  readout(state, []);
}

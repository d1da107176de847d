// The stage of a viewer: one pane with the film and the map over it, or a pane a run side by side.
// There is one film; the other panes show copies of its picture, so all are at the same frame.

import { isKept, mapOf } from "./viewer-maps.js";
import { Painter } from "./viewer-map.js";

const MOST_PANES = 4;

export class Stage {
  /**
   * element: [data-viewer-stage]. of: what is to be seen, {state, data, maps(run), truthAt(run,
   * frame), frame}. on: {pick([{run, row, column}]), wipe(percent), read(text)}.
   */
  constructor(element, { of, on, signal }) {
    this.element = element;
    this.of = of;
    this.on = on;
    this.signal = signal;
    this.video = element.querySelector("[data-viewer-video]");
    this.divider = element.querySelector("[data-viewer-wipe]");
    this.panes = [this.pane(element.querySelector("[data-viewer-pane]"))];
    this.count = 0; // patches at the threshold, of the first pane
    this.listenToDivider();
    this.resizes = new ResizeObserver(() => {
      for (const { painter } of this.panes) painter.resize();
      this.paint();
    });
    this.resizes.observe(element);
  }

  pane(element, picture = null) {
    const canvas = element.querySelector("[data-viewer-canvas]");
    const pane = { element, canvas, picture, painter: new Painter(canvas), run: 0 };
    const on = (name, act) => element.addEventListener(name, act, { signal: this.signal });
    on("pointermove", ({ clientX, clientY }) => {
      this.pointer = { pane, x: clientX, y: clientY };
      this.read();
    });
    on("pointerleave", () => {
      this.pointer = null;
      this.on.read("");
    });
    on("click", (event) => {
      if (event.target === this.divider) return;
      this.on.pick(this.patchesAt(pane, event.clientX, event.clientY));
    });
    return pane;
  }

  /** The runs that have a pane now. */
  get runs() {
    const { state, data } = this.of;
    if (state.mode !== "side") return [state.a];
    return data.runs.map((_, i) => i).filter((i) => !state.hidden.has(i)).slice(0, MOST_PANES);
  }

  /** As many panes as the mode wants, each with its name. */
  arrange() {
    const { state, data } = this.of;
    const { runs } = this;
    while (this.panes.length < runs.length) this.panes.push(this.copy());
    while (this.panes.length > runs.length) this.panes.pop().element.remove();
    this.element.dataset.panes = String(runs.length);
    this.element.style.setProperty("--across", String(runs.length === 1 ? 1 : 2));
    this.element.style.setProperty("--down", String(Math.ceil(runs.length / 2)));
    const wiped = state.mode === "wipe";
    this.divider.hidden = !wiped;
    this.panes.forEach((pane, i) => {
      pane.run = runs[i];
      const name = data.runs[pane.run].name;
      const other = state.b >= 0 ? data.runs[state.b].name : "";
      const label = pane.element.querySelector("[data-viewer-label]");
      label.hidden = data.runs.length < 2;
      label.textContent = state.mode === "diff" ? `${name} − ${other}` : name;
      label.style.setProperty("--run", data.runs[pane.run].color);
      const right = pane.element.querySelector("[data-viewer-label-right]");
      if (right) {
        right.hidden = !wiped;
        right.textContent = other;
        right.style.setProperty("--run", wiped ? data.runs[state.b].color : "");
      }
      const what = { diff: `Difference of ${name} and ${other}`, wipe: `Scores of ${name}, then ${other}` };
      pane.canvas.setAttribute("aria-label", `${what[state.mode] || `Scores of ${name}`} in this frame`);
      pane.painter.resize();
    });
    this.placeDivider();
    this.paint();
  }

  copy() {
    const element = document.createElement("div");
    element.className = "viewer-pane";
    const picture = document.createElement("canvas");
    picture.className = "viewer-picture";
    picture.setAttribute("aria-hidden", "true");
    const canvas = document.createElement("canvas");
    canvas.dataset.viewerCanvas = "";
    canvas.setAttribute("role", "img");
    const label = document.createElement("span");
    label.className = "viewer-label";
    label.dataset.viewerLabel = "";
    element.append(picture, canvas, label);
    this.panes.at(-1).element.after(element);
    return this.pane(element, picture);
  }

  paint() {
    const { of } = this;
    const { state, frame } = of;
    const part = (run) => ({ maps: of.maps(run), truth: of.truthAt(run, frame), picked: this.picked(run) });
    const [first] = this.panes;
    const a = part(state.a);
    if (state.mode === "wipe") {
      this.count = first.painter.wipe(a, part(state.b), state.wipe / 100, frame, state);
    } else if (state.mode === "diff") {
      first.painter.difference(a.maps, of.maps(state.b), frame, a.truth, state, a.picked);
    } else {
      this.panes.forEach((pane, i) => {
        if (pane.picture) this.copyPicture(pane);
        const { maps, truth, picked } = part(pane.run);
        const count = pane.painter.paint(maps, frame, truth, state, picked);
        if (i === 0) this.count = count;
      });
    }
    this.read();
  }

  copyPicture({ picture, canvas }) {
    if (picture.width !== canvas.width) picture.width = canvas.width;
    if (picture.height !== canvas.height) picture.height = canvas.height;
    if (!this.video || this.video.hidden || this.video.readyState < 2) return;
    picture.getContext("2d").drawImage(this.video, 0, 0, picture.width, picture.height);
  }

  /** The patches of a run whose curves are drawn. */
  picked(run) {
    const { state, data } = this.of;
    const columns = data.runs[run].grid?.[1] || 0;
    return state.patches.filter((p) => p.run === run).map((p) => p.row * columns + p.column);
  }

  // ---- under the pointer ------------------------------------------------------------------------

  /** What lies at a place of the screen: a patch of the pane's run, of both where they differ. */
  patchesAt({ element, run }, x, y) {
    const { state } = this.of;
    const box = element.getBoundingClientRect();
    const across = (x - box.left) / box.width;
    const down = (y - box.top) / box.height;
    let runs = [run];
    if (state.mode === "diff") runs = [state.a, state.b];
    if (state.mode === "wipe") runs = [100 * across < state.wipe ? state.a : state.b];
    return runs.flatMap((each) => {
      const grid = this.of.data.runs[each].grid;
      if (!grid) return [];
      return [{ run: each, row: cell(down, grid[0]), column: cell(across, grid[1]) }];
    });
  }

  read() {
    if (!this.pointer) return;
    const { pane, x, y } = this.pointer;
    const found = this.patchesAt(pane, x, y);
    const texts = found.map(({ run, row, column }) => {
      const score = this.scoreOf(run, row, column);
      const text = score === null ? "pruned" : score === undefined ? "not loaded yet" : score.toFixed(2);
      return `row ${row + 1}, column ${column + 1}: ${text}`;
    });
    this.on.read(texts.join("; B "));
  }

  /** null where it was pruned, undefined where nobody knows yet. */
  scoreOf(run, row, column) {
    const maps = this.of.maps(run);
    if (!maps?.has(this.of.frame)) return undefined;
    const patch = row * maps.columns + column;
    const map = mapOf(maps, this.of.frame);
    return isKept(maps, map, patch) ? maps.scores[map * maps.patches + patch] / 255 : null;
  }

  // ---- the divider ------------------------------------------------------------------------------

  placeDivider() {
    const { wipe, b } = this.of.state;
    this.divider.style.left = `${wipe}%`;
    this.divider.setAttribute("aria-valuenow", String(Math.round(wipe)));
    const right = b >= 0 ? this.of.data.runs[b].name : "";
    const left = this.of.data.runs[this.of.state.a].name;
    this.divider.setAttribute("aria-valuetext", `${left} left of ${Math.round(wipe)} %, ${right} right of it`);
  }

  listenToDivider() {
    const { divider, signal } = this;
    const to = (percent) => this.on.wipe(Math.max(0, Math.min(100, percent)));
    const listen = (name, act) => divider.addEventListener(name, act, { signal });
    listen("pointerdown", (event) => {
      event.preventDefault();
      divider.focus();
      divider.setPointerCapture(event.pointerId);
    });
    listen("pointermove", (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const { left, width } = divider.parentElement.getBoundingClientRect();
      to(Math.round((1000 * (event.clientX - left)) / width) / 10);
    });
    listen("keydown", (event) => {
      const step = event.shiftKey ? 10 : 1;
      const { wipe } = this.of.state;
      const wanted = { ArrowLeft: wipe - step, ArrowDown: wipe - step, ArrowRight: wipe + step, ArrowUp: wipe + step, Home: 0, End: 100 }[event.key];
      if (wanted === undefined) return;
      event.preventDefault();
      to(wanted);
    });
  }

  leave() {
    this.resizes.disconnect();
  }
}

function cell(part, cells) {
  return Math.max(0, Math.min(cells - 1, Math.floor(part * cells)));
}

// What a viewer's buttons, sliders, numbers and lists say: its state, the frame, the scores.

import { MODES } from "./viewer-link.js";
import { snippetOf } from "./viewer-maps.js";

const QUIET_MS = 600; // after the last step, before a screen reader is told where one is
const POINT = "point at a patch to read it; a click draws its curve";

export class Readout {
  constructor(desk) {
    this.desk = desk;
    this.told = ""; // what the live region said last
    this.signal = desk.abort.signal;
  }

  part(name) {
    return this.desk.part(name);
  }

  button(name) {
    return this.desk.scope.querySelector(`[data-viewer-do="${name}"]`);
  }

  /** All controls as the state has it. */
  show() {
    const { state, data } = this.desk;
    const percent = Math.round(1000 * state.threshold) / 10;
    this.part("threshold").value = String(percent);
    this.part("threshold").setAttribute("aria-valuetext", state.threshold.toFixed(2));
    if (document.activeElement !== this.part("limit")) this.part("limit").value = String(state.threshold);
    this.part("limit-text").textContent = state.threshold.toFixed(2);
    this.part("speed").value = String(state.speed);
    if (this.part("opacity")) {
      this.part("opacity").value = String(Math.round(100 * state.opacity));
      this.part("opacity-value").textContent = `${Math.round(100 * state.opacity)} %`;
      this.showScale(state);
    }
    for (const name of MODES) this.press(name, state.mode === name);
    this.press("map", state.map);
    this.press("truth", state.truth);
    this.press("rows", state.byHighest);
    for (const row of this.desk.root.querySelectorAll("[data-viewer-run]")) {
      const i = Number(row.dataset.viewerRun);
      const press = (name, on) =>
        row.querySelector(`[data-viewer-do="${name}"]`)?.setAttribute("aria-pressed", String(on));
      press("choose", i === state.a);
      press("against", i === state.b && state.mode !== "one" && state.mode !== "side");
      press("eye", !state.hidden.has(i));
      row.classList.toggle("is-hidden", state.hidden.has(i));
      const against = row.querySelector('[data-viewer-do="against"]');
      if (against) against.disabled = i === state.a || !data.runs[i].maps;
    }
    this.showChips();
    this.tellTruth(this.desk.loading.where.get(state.a));
  }

  showScale({ mode, threshold }) {
    const isDifference = mode === "diff";
    const { data, state } = this.desk;
    this.part("mark").hidden = isDifference;
    this.part("mark").style.left = `${100 * threshold}%`;
    this.part("low").textContent = isDifference ? "−1, B higher" : "0";
    this.part("high").textContent = isDifference ? "A higher, 1" : "1";
    this.part("middle").textContent = isDifference ? "0" : "patch score, fixed scale";
    const words = isDifference
      ? `Colours of a difference: blue where ${data.runs[state.b].name} is higher, white at zero, orange where ${data.runs[state.a].name} is`
      : "Colours from 0, dark purple, over red and orange to 1, light yellow";
    this.part("scale").setAttribute("aria-label", words);
    for (const each of this.desk.root.querySelectorAll('[data-viewer-only="map"]')) each.hidden = isDifference;
  }

  press(name, on) {
    this.button(name)?.setAttribute("aria-pressed", String(on));
  }

  showChips() {
    const place = this.part("chips");
    if (!place) return;
    const { state, data } = this.desk;
    place.replaceChildren(
      ...state.patches.map(({ run, row, column }, i) => {
        const button = document.createElement("button");
        const mark = document.createElement("i");
        mark.style.borderColor = data.runs[run].color;
        const text = `patch ${row + 1},${column + 1}${data.runs.length > 1 ? ` of ${data.runs[run].name}` : ""}`;
        button.type = "button";
        button.className = "viewer-chip";
        button.dataset.viewerDo = "unpick";
        button.dataset.viewerAt = String(i);
        button.title = `Take away the curve of ${text}`;
        button.setAttribute("aria-label", button.title);
        const words = document.createElement("span");
        words.textContent = text;
        const cross = document.createElement("span");
        cross.textContent = "×";
        button.append(mark, words, cross);
        return button;
      }),
    );
  }

  tellFrame(frame, fps) {
    const { desk } = this;
    this.part("frame").textContent = frame.toLocaleString("en-US");
    this.part("time").textContent = fps ? timeText(frame / fps) : "no frame rate";
    const position = this.part("position");
    position.value = String(frame);
    position.setAttribute("aria-valuetext", `${frame} of ${desk.count}${fps ? `, ${timeText(frame / fps)}` : ""}`);
    for (const row of desk.root.querySelectorAll("[data-viewer-run]")) {
      row.querySelector("[data-viewer-now]").textContent = scoreText(desk.scoreAt(Number(row.dataset.viewerRun), frame));
    }
    const maps = desk.loading.maps(desk.state.a);
    const snippet = maps?.has(frame) ? snippetOf(maps, frame) : -1;
    for (const name of ["stage1", "stage2", "evaluated"]) {
      const place = desk.root.querySelector(`[data-viewer-score="${name}"]`);
      if (place) place.textContent = scoreText(snippet < 0 ? null : maps[name][snippet]);
    }
  }

  tellCount(count) {
    const place = this.part("count");
    const grid = this.desk.run(this.desk.state.a).grid;
    if (place) place.textContent = grid && count !== null ? `${count} of ${grid[0] * grid[1]}` : "";
  }

  tellTruth(where) {
    const place = this.part("truth-text");
    if (!place || !where) return;
    place.textContent = where.problem || truthText(where);
  }

  tellPlaying(playing) {
    const button = this.button("play");
    button.setAttribute("aria-pressed", String(playing));
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    button.title = `${playing ? "Pause" : "Play"} (Space)`;
  }

  point(text) {
    if (this.part("pointer")) this.part("pointer").textContent = text || POINT;
  }

  /** For screen readers: at once, of what a person did. */
  announce(text) {
    this.told = text;
    this.part("live").textContent = text;
    clearTimeout(this.timer);
  }

  /** Where one is, once stepping has stopped; nothing while it plays. */
  tellQuietly() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { desk } = this;
      const { frame } = desk.clock;
      const scores = desk.visible.map((i) => `${desk.run(i).name} ${scoreText(desk.scoreAt(i, frame))}`);
      const text = `Frame ${frame}. ${scores.join(", ")}`;
      if (desk.clock.isPlaying || text === this.told || this.signal.aborted) return;
      const isFirst = !this.told;
      this.told = text;
      if (!isFirst) this.part("live").textContent = text;
    }, QUIET_MS);
  }
}

function truthText({ boxes, patches, intervals }) {
  if (boxes.length) return "truth: boxes";
  if (patches.length) return "truth: patches of the masks";
  return intervals.length ? "truth: nobody marked the place" : "truth: no anomaly in this video";
}

function scoreText(value) {
  return Number.isFinite(value) ? value.toFixed(3) : "–";
}

function timeText(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")} min`;
}

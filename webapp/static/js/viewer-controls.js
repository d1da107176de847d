// The buttons, sliders, numbers and lists around a viewer: they show its state, and change it.

import { SPEEDS, withoutRun, withVideo } from "./viewer-link.js";
import { snippetOf } from "./viewer-maps.js";

const QUIET_MS = 600; // after the last step, before a screen reader is told where one is
const POINT = "point at a patch to read it; a click draws its curve";
const PRESSED = ["one", "side", "wipe", "diff"];

export class Controls {
  constructor(desk) {
    this.desk = desk;
    this.told = ""; // what the live region said last
    this.signal = desk.abort.signal;
    this.listen();
  }

  part(name) {
    return this.desk.part(name);
  }

  button(name) {
    return this.desk.scope.querySelector(`[data-viewer-do="${name}"]`);
  }

  on(element, name, act) {
    element?.addEventListener(name, act, { signal: this.signal });
  }

  // ---- showing ------------------------------------------------------------------------------------

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
    for (const name of PRESSED) this.press(name, state.mode === name);
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
    this.tellTruth(this.desk.where.get(state.a));
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
    const maps = desk.loading.get(desk.state.a);
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

  /** Forms of the page that keep what is shown have it in hidden fields. */
  addressChanged() {
    const query = new URLSearchParams(location.search);
    for (const form of document.querySelectorAll("form[data-viewer-form]")) {
      const own = form.dataset.viewerForm.split(" ");
      for (const field of form.querySelectorAll("[data-viewer-kept]")) field.remove();
      for (const [name, value] of query) {
        if (own.includes(name) && name !== "run") continue;
        const field = Object.assign(document.createElement("input"), { type: "hidden", name, value });
        field.dataset.viewerKept = "";
        form.prepend(field);
      }
    }
  }

  // ---- doing --------------------------------------------------------------------------------------

  act(name, at = 0) {
    const { desk } = this;
    const { clock, state } = desk;
    if (name === "play") clock.toggle();
    else if (name === "back") clock.go(clock.now - 1);
    else if (name === "forward") clock.go(clock.now + 1);
    else if (name === "snippet-back") this.stepSnippet(-1);
    else if (name === "snippet-forward") this.stepSnippet(1);
    else if (name === "error-back") this.stepError(-1);
    else if (name === "error-forward") this.stepError(1);
    else if (name === "highest") this.highest();
    else if (name === "keys") desk.root.querySelector("dialog").showModal();
    else if (name === "slower" || name === "faster") {
      const next = SPEEDS[SPEEDS.indexOf(state.speed) + (name === "faster" ? 1 : -1)];
      if (next) desk.change({ speed: next });
    } else if (name === "map" || name === "truth") desk.change({ [name]: !state[name] });
    else if (name === "rows") desk.change({ byHighest: !state.byHighest });
    else if (PRESSED.includes(name)) this.setMode(state.mode === name ? "one" : name);
    else if (name === "choose") this.choose(at);
    else if (name === "against") this.against(at);
    else if (name === "eye") this.eye(at);
    else if (name === "unpick") desk.change({ patches: state.patches.filter((_, i) => i !== at) });
  }

  setMode(mode) {
    const { desk } = this;
    const { state, data } = desk;
    if (mode === "one" || this.button(mode)) {
      const needsMaps = mode === "wipe" || mode === "diff";
      const part = { mode };
      if (needsMaps && !data.runs[state.a].maps) part.a = data.runs.findIndex((run) => run.maps);
      const a = part.a ?? state.a;
      if (needsMaps && (state.b === a || !data.runs[state.b]?.maps)) {
        part.b = data.runs.findIndex((run, i) => i !== a && run.maps);
      }
      desk.change(part);
    }
  }

  /** The chosen run; the one that was chosen takes its place where they are compared. */
  choose(i) {
    const { state, data } = this.desk;
    if (i >= data.runs.length || i === state.a) return;
    const hidden = new Set(state.hidden);
    hidden.delete(i);
    const two = state.mode === "wipe" || state.mode === "diff";
    const mode = two && !data.runs[i].maps ? "one" : state.mode;
    this.desk.change({ a: i, b: i === state.b || state.b < 0 ? state.a : state.b, hidden, mode });
    this.announce(`${data.runs[i].name} chosen`);
  }

  against(i) {
    const { state } = this.desk;
    const two = state.mode === "wipe" || state.mode === "diff";
    this.desk.change({ b: i, mode: two ? state.mode : "wipe" });
  }

  /** The last one stays: an empty curve shows nothing. */
  eye(i) {
    const hidden = new Set(this.desk.state.hidden);
    if (!hidden.delete(i) && this.desk.visible.length > 1) hidden.add(i);
    this.desk.change({ hidden });
  }

  /** Back goes to the start of the snippet first, as players do with chapters. */
  stepSnippet(direction) {
    const { desk } = this;
    const starts = desk.run(desk.state.a).starts.length ? desk.run(desk.state.a).starts : desk.loading.get(desk.state.a)?.starts;
    if (!starts?.length) return;
    const { now } = desk.clock;
    const snippet = snippetOf({ starts }, now);
    const back = now > starts[snippet] ? snippet : Math.max(0, snippet - 1);
    const to = direction > 0 ? snippet + 1 : back;
    desk.clock.go(to < starts.length ? starts[to] : desk.count - 1);
  }

  stepError(direction) {
    const { desk } = this;
    const error = desk.errors.beside(desk.clock.now, direction);
    if (error) desk.goTo(error);
    else this.announce(direction > 0 ? "No error after this frame" : "No error before this frame");
  }

  highest() {
    const { starts, scores } = this.desk.run(this.desk.state.a);
    if (scores.length) this.desk.clock.go(starts[scores.indexOf(Math.max(...scores))]);
  }

  listen() {
    const { desk } = this;
    this.on(desk.scope, "click", ({ target }) => {
      const button = target.closest("[data-viewer-do]");
      if (button && desk.scope.contains(button)) this.act(button.dataset.viewerDo, Number(button.dataset.viewerAt || 0));
    });
    const slider = (name, act) => this.on(this.part(name), "input", ({ target }) => act(Number(target.value)));
    slider("position", (frame) => desk.clock.go(frame));
    slider("opacity", (percent) => desk.change({ opacity: percent / 100 }));
    slider("threshold", (percent) => desk.change({ threshold: percent / 100 }));
    this.on(this.part("limit"), "input", ({ target }) => {
      if (target.value !== "" && target.validity.valid) desk.change({ threshold: Number(target.value) });
    });
    this.on(this.part("limit"), "blur", () => this.show());
    this.on(this.part("speed"), "change", ({ target }) => desk.change({ speed: Number(target.value) }));
    const form = this.part("patch-form");
    this.on(form, "submit", (event) => {
      event.preventDefault();
      const { row, column } = form.elements;
      const grid = desk.run(desk.state.a).grid;
      if (!grid || row.value > grid[0] || column.value > grid[1]) return;
      desk.pick([{ run: desk.state.a, row: row.value - 1, column: column.value - 1 }]);
    });
    // links that take what is shown with them: to another video, without a run, to the own page
    this.on(document, "click", ({ target }) => {
      const kept = target.closest?.("a[data-viewer-keep], a[data-viewer-leave], a[data-viewer-open]");
      if (!kept) return;
      const { viewerKeep: video, viewerLeave: run } = kept.dataset;
      let { query } = desk;
      if (video !== undefined) query = withVideo(query, video);
      else if (run !== undefined) query = withoutRun(query, { ...desk.state, frame: desk.clock.frame }, desk.data.runs, Number(run));
      else query = ownPage(query, desk.data);
      kept.search = query;
    });
    this.on(this.part("add"), "change", ({ target }) => {
      this.addressChanged();
      if (target.value) target.form.requestSubmit();
    });
  }
}

/** From an evaluation's page, whose address names its run in the path. */
function ownPage(query, data) {
  const next = new URLSearchParams(query);
  for (const name of ["sort", "class"]) next.delete(name);
  next.set("run", data.runs[0].id);
  next.set("video", data.video);
  return next;
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

// What a person does at a viewer: buttons, keys by name, sliders, forms and links that keep what is
// shown. What it all says is in viewer-readout.js.

import { MODES, SPEEDS, withoutRun, withVideo } from "./viewer-link.js";
import { snippetOf } from "./viewer-maps.js";
import { Readout } from "./viewer-readout.js";

export class Controls extends Readout {
  constructor(desk) {
    super(desk);
    this.listen();
  }

  on(element, name, act) {
    element?.addEventListener(name, act, { signal: this.signal });
  }

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
    else if (MODES.includes(name)) this.setMode(state.mode === name ? "one" : name);
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
    const starts = desk.run(desk.state.a).starts.length ? desk.run(desk.state.a).starts : desk.loading.maps(desk.state.a)?.starts;
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
      else if (run !== undefined) query = withoutRun(query, { ...desk.state, frame: desk.clock.now }, desk.data.runs, Number(run));
      else query = ownPage(query, desk.data);
      kept.search = query;
    });
    // a moment for a report: the frame that is seen, of the chosen run
    this.on(document, "click", ({ target }) => {
      const link = target.closest?.("a[data-viewer-report]");
      if (!link) return;
      const query = new URLSearchParams(link.search);
      query.set("evaluations", desk.data.runs[desk.state.a].id);
      query.set("frame", String(desk.clock.now));
      link.search = query;
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

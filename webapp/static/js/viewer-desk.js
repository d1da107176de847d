// The desk: one video under several runs at one frame. It holds the state and keeps the film, the
// maps, the curve, the matrix, the errors and the address at it; what a person does comes from
// viewer-controls.js.

import { Clock } from "./viewer-clock.js";
import { DIFFERENCES, paintScale, SCORES } from "./viewer-colours.js";
import { Controls } from "./viewer-controls.js";
import { ErrorList } from "./viewer-errors.js";
import * as link from "./viewer-link.js";
import { Loading } from "./viewer-loading.js";
import { snippetOf } from "./viewer-maps.js";
import { Matrix } from "./viewer-matrix.js";
import { Playhead } from "./viewer-playhead.js";
import { Stage } from "./viewer-stage.js";

const ADDRESS_MS = 250; // after the last change, before the address has it
const LIGHT = ["threshold", "opacity", "wipe", "map", "truth"]; // of what is dragged or switched

export class Desk {
  constructor(root) {
    this.root = root;
    this.scope = root.parentElement; // the curve and the matrix stand beside the root
    this.abort = new AbortController();
    const { signal } = this.abort;
    const { frame, frames, fps, width, height, chart, source } = root.dataset;
    this.data = JSON.parse(source);
    this.count = Number(frames);
    this.state = link.read(new URLSearchParams(location.search), this.data.runs);
    this.loading = new Loading(this.data, {
      frame: Number(frame),
      signal,
      on: {
        part: (run, first, n) => this.mapsCame(run, first, n),
        places: () => {
          this.paint();
          this.controls.tellTruth(this.loading.where.get(this.state.a));
        },
        failed: (text) => this.say(text),
      },
    });
    this.stats = { paints: 0, worst: 0 };
    this.shape(Number(width), Number(height));
    this.part("frame").style.minWidth = `${this.count.toLocaleString("en-US").length}ch`;
    this.stage = this.part("stage") && this.makeStage(signal);
    this.errors = new ErrorList(this.part("errors"), {
      data: this.data,
      fps: Number(fps),
      go: (error) => this.goTo(error),
    });
    const matrix = this.part("matrix");
    if (matrix) {
      const on = { go: (to) => this.clock.go(to), pick: (found) => this.pick(found) };
      this.matrix = new Matrix(matrix, { data: this.data, frames: this.count, on, signal });
    }
    const place = document.getElementById(chart);
    if (place) {
      const on = {
        go: (to) => this.clock.go(to),
        limit: (threshold) => this.change({ threshold }),
        band: (band) => this.matrix?.setBand(band),
      };
      this.playhead = new Playhead(place, { on, signal });
    }
    this.clock = new Clock(this.part("video"), {
      frame: Number(frame),
      count: this.count,
      fps: Number(fps),
      speed: this.state.speed,
      signal,
      on: {
        frame: () => this.shown(),
        state: () => this.playingChanged(),
        size: (w, h) => Number(width) || this.shape(w, h), // a proxy may be of another shape
        broken: () => this.broken(),
      },
    });
    this.controls = new Controls(this);
    this.apply();
    this.clock.start();
  }

  makeStage(signal) {
    const desk = this;
    return new Stage(this.part("stage"), {
      of: {
        get state() {
          return desk.state;
        },
        get frame() {
          return desk.clock.frame;
        },
        data: this.data,
        maps: (run) => this.loading.maps(run),
        truthAt: (run, frame) => this.loading.truthAt(run, frame),
      },
      on: {
        pick: (found) => this.pick(found, { toggle: true }),
        wipe: (wipe) => this.change({ wipe }),
        read: (text) => this.controls.point(text),
      },
      signal,
    });
  }

  part(name) {
    return this.scope.querySelector(`[data-viewer-${name}]`);
  }

  run(i) {
    return this.data.runs[i];
  }

  /** Runs whose curves and errors are shown. */
  get visible() {
    return this.data.runs.map((_, i) => i).filter((i) => !this.state.hidden.has(i));
  }

  /** The stage takes the shape of the picture before it comes, so that nothing jumps. */
  shape(width, height) {
    if (width > 0 && height > 0) this.part("stage")?.style.setProperty("--shape", String(width / height));
  }

  // ---- what is loaded -----------------------------------------------------------------------------

  /** Maps and places of the runs that are seen now; the others wait until they are. */
  fetchWhatIsSeen() {
    const { state } = this;
    const wanted = new Set([state.a]);
    if (state.mode === "wipe" || state.mode === "diff") wanted.add(state.b);
    for (const run of this.stage && state.mode === "side" ? this.stage.runs : []) wanted.add(run);
    for (const run of wanted) this.loading.want(run, { places: Boolean(this.stage) });
  }

  mapsCame(run, first, n) {
    const maps = this.loading.maps(run);
    const end = first + n < maps.n ? maps.starts[first + n] : maps.frames;
    const { frame } = this.clock;
    if (maps.starts[first] <= frame && frame < end) this.paint();
    const view = this.matrix?.view;
    if (view && run === view.runA && !view.b) this.matrix.add(first, n);
    else if (!view || run === view.runA || (view.b && run === view.runB)) this.showMatrix();
  }

  say(text) {
    const place = this.part("message");
    if (!place) return;
    place.hidden = !text;
    place.textContent = text;
  }

  // ---- what is seen -----------------------------------------------------------------------------

  /** Another state: only this way, so that all that shows it follows. */
  change(part) {
    Object.assign(this.state, part);
    const names = Object.keys(part);
    if (names.every((name) => LIGHT.includes(name))) {
      this.playhead?.cut(this.state.threshold);
      if (names.includes("threshold")) this.errors.update(this.visible, this.state.threshold);
      this.stage?.placeDivider();
      this.controls.show();
      this.paint();
    } else {
      this.apply();
    }
    this.nameState();
  }

  apply() {
    const { state } = this;
    this.fetchWhatIsSeen();
    this.clock.setSpeed(state.speed);
    const scale = this.part("scale");
    if (scale) paintScale(scale, state.mode === "diff" ? DIFFERENCES : SCORES);
    this.playhead?.cut(state.threshold);
    this.errors.update(this.visible, state.threshold);
    this.controls.show();
    this.drawCurves();
    this.showMatrix();
    if (this.stage) this.stage.arrange();
    this.paint();
  }

  /** The curve's figure, with the shown runs and patches: the server draws it. */
  drawCurves() {
    const chart = this.playhead?.chart;
    if (!chart) return;
    const url = new URL(chart.dataset.figureSrc, location.href);
    const before = url.href;
    const query = new URLSearchParams(this.visible.map((i) => ["run", this.run(i).id]));
    query.append("video", this.data.video);
    for (const { run, row, column } of this.state.patches) {
      if (!this.state.hidden.has(run)) query.append("patch", `${this.run(run).id}.${row + 1}.${column + 1}`);
    }
    url.search = query;
    if (url.href === before) return;
    chart.dataset.figureSrc = url.pathname + url.search;
    chart.vadlab?.reload(true); // before it is attached, it has asked for nothing yet
  }

  showMatrix() {
    if (!this.matrix) return;
    const { state } = this;
    const a = this.loading.maps(state.a);
    const b = state.mode === "diff" ? this.loading.maps(state.b) : null;
    const title = this.part("matrix-title");
    const name = this.run(state.a).name;
    title.textContent = b ? `Patches over time, ${name} − ${this.run(state.b).name}` : `Patches over time, ${name}`;
    this.part("matrix").classList.toggle("is-empty", !a);
    if (!a) {
      this.matrix.clear();
      return;
    }
    const picked = (this.stage?.picked(state.a) || []).map((patch) => ({ patch, color: this.run(state.a).color }));
    this.matrix.show({ a, b, runA: state.a, runB: state.b, byHighest: state.byHighest, picked: b ? [] : picked });
  }

  shown() {
    this.loading.follow(this.clock.frame);
    this.paint();
    this.playhead?.show(this.clock.frame);
    this.matrix?.follow(this.clock.frame);
    if (!this.clock.isPlaying) this.nameState();
  }

  paint() {
    const { clock, state } = this;
    if (!clock || !this.controls) return;
    const begun = performance.now();
    this.stage?.paint();
    this.stats.worst = Math.max(this.stats.worst, performance.now() - begun);
    this.stats.paints += 1;
    this.controls.tellFrame(clock.frame, clock.fps);
    this.controls.tellCount(state.mode === "diff" ? null : this.stage?.count);
  }

  /** The score of a run that holds at a frame; null where it has none. */
  scoreAt(run, frame) {
    const { starts, scores } = this.run(run);
    return starts.length ? scores[snippetOf({ starts }, frame)] : null;
  }

  playingChanged() {
    this.controls.tellPlaying(this.clock.isPlaying);
    if (!this.clock.isPlaying) this.nameState();
  }

  broken() {
    this.part("broken").hidden = false;
    this.part("video").hidden = true;
  }

  // ---- what a person does --------------------------------------------------------------------------

  goTo(error) {
    if (!error) return;
    this.errors.mark(error);
    this.clock.go(error.start);
    this.controls.announce(this.errors.words(error));
  }

  /** Curves of patches: added, and with toggle taken away where they are drawn already. */
  pick(found, { toggle = false } = {}) {
    const same = (x) => (y) => x.run === y.run && x.row === y.row && x.column === y.column;
    const there = found.filter((each) => this.state.patches.some(same(each)));
    let patches = [...this.state.patches];
    if (toggle && there.length === found.length) {
      patches = patches.filter((each) => !there.some(same(each)));
    } else {
      patches.push(...found.filter((each) => !there.includes(each)));
    }
    this.change({ patches: patches.slice(-link.MOST_PATCHES) });
  }

  /** The query of the address with all that is shown now; the frame that a film is still on its way
   * to, not the first picture that it shows before. */
  get query() {
    const state = { ...this.state, frame: this.clock.now };
    return link.write(new URLSearchParams(location.search), state, this.data.runs);
  }

  /** The address says what is seen, so that it can be sent to a colleague. */
  nameState() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.root.isConnected) return;
      const address = new URL(location.href);
      const next = this.query;
      if (sorted(next) === sorted(address.searchParams)) return;
      next.set("video", this.data.video);
      address.search = next;
      history.replaceState(history.state, "", address);
      this.controls.addressChanged();
    }, ADDRESS_MS);
    if (!this.clock.isPlaying) this.controls.tellQuietly();
  }

  leave() {
    this.abort.abort();
    this.stage?.leave();
    this.matrix?.leave();
    clearTimeout(this.timer);
    const video = this.part("video");
    if (!video) return;
    video.pause();
    video.removeAttribute("src"); // what it still loads is no longer wanted
    video.load();
  }
}

function sorted(query) {
  return [...query.entries()].map(String).sort().join("&");
}

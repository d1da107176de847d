// The viewer: the map of stage 2 over a video, one frame at a time. It finds [data-viewer]
// elements (templates/evaluations/viewer.html), gets maps and truth from the API, and keeps the
// video, the map, the numbers, the playhead on the curve and the address at the same frame.
//
// The element's `vadlab` property is for tests: {frame, ready, playing, stats: {paints, worst}}.

import { Clock } from "./viewer-clock.js";
import { decode, isKept, mapOf, Painter, paintScale, snippetOf } from "./viewer-map.js";
import { Playhead } from "./viewer-playhead.js";

const ADDRESS_MS = 250; // after the last step, before the address names the frame
const POINT = "point at a patch to read it";
const viewers = new Map(); // element -> Viewer

class Viewer {
  constructor(root) {
    this.root = root;
    this.abort = new AbortController();
    this.canvas = this.part("canvas");
    this.painter = new Painter(this.canvas);
    this.maps = null;
    this.truth = { boxes: [], patches: [], intervals: [], problem: "" };
    this.options = { map: true, truth: true, opacity: 0.7, threshold: 0.5 };
    this.stats = { paints: 0, worst: 0 };
    const { frame, frames, fps, width, height, chart } = root.dataset;
    this.shape(Number(width), Number(height));
    this.part("frame").style.minWidth = `${Number(frames).toLocaleString("en-US").length}ch`;
    paintScale(this.part("scale"));
    const place = document.getElementById(chart);
    if (place) this.playhead = new Playhead(place, (to) => this.clock.go(to), this.abort.signal);
    this.clock = new Clock(this.part("video"), {
      frame: Number(frame),
      count: Number(frames),
      fps: Number(fps),
      signal: this.abort.signal,
      on: {
        frame: () => this.shown(),
        state: () => this.tellPlaying(),
        size: (w, h) => Number(width) || this.shape(w, h), // a proxy may be of another shape
        broken: () => this.broken(),
      },
    });
    this.listen();
    this.clock.start();
    this.resizes = new ResizeObserver(() => {
      this.painter.resize();
      this.paint();
    });
    this.resizes.observe(this.part("stage"));
    this.load();
  }

  part(name) {
    return this.root.querySelector(`[data-viewer-${name}]`);
  }

  button(name) {
    return this.root.querySelector(`[data-viewer-do="${name}"]`);
  }

  /** The stage takes the shape of the picture before it comes, so that nothing jumps. */
  shape(width, height) {
    if (width > 0 && height > 0) this.part("stage").style.setProperty("--shape", String(width / height));
  }

  async load() {
    const { signal } = this.abort;
    const ask = (address) => fetch(address, { signal, credentials: "same-origin" });
    try {
      const { maps: from, truth: of } = this.root.dataset;
      const [maps, truth] = await Promise.all([ask(from), ask(of)]);
      if (!maps.ok) throw new Error(await reason(maps));
      this.maps = decode(await maps.arrayBuffer());
      this.clock.count = this.maps.frames;
      if (truth.ok) this.truth = await truth.json();
      else this.truth.problem = await reason(truth);
      this.part("truth-text").textContent = this.truth.problem || truthText(this.truth);
      this.paint();
    } catch (error) {
      if (error.name !== "AbortError") this.say(error.message || "The maps could not be loaded.");
    }
  }

  say(text) {
    this.part("message").hidden = !text;
    this.part("message").textContent = text;
  }

  // ---- what is seen ---------------------------------------------------------------------------

  shown() {
    this.paint();
    if (!this.clock.isPlaying) this.nameFrame();
  }

  paint() {
    const { maps, clock } = this;
    const { frame, fps } = clock;
    this.part("frame").textContent = frame.toLocaleString("en-US");
    this.part("time").textContent = fps ? timeText(frame / fps) : "no frame rate";
    this.part("position").value = String(frame);
    this.playhead?.show(frame);
    if (!maps) return;
    const begun = performance.now();
    const count = this.painter.paint(maps, frame, this.truthAt(frame), this.options);
    this.stats.worst = Math.max(this.stats.worst, performance.now() - begun);
    this.stats.paints += 1;
    const snippet = snippetOf(maps, frame);
    for (const name of ["stage1", "stage2", "evaluated"]) {
      const value = maps[name][snippet];
      const place = this.root.querySelector(`[data-viewer-score="${name}"]`);
      place.textContent = Number.isFinite(value) ? value.toFixed(3) : "\u2013";
    }
    this.part("count").textContent = `${count} of ${maps.patches}`;
    this.read();
  }

  truthAt(frame) {
    const { boxes, patches } = this.truth;
    const holds = ([start, end]) => start <= frame && frame < end;
    return {
      boxes: boxes.filter(holds).map((row) => row.slice(2)),
      patches: patches.filter(holds).flatMap((row) => row[2]),
    };
  }

  /** The score of the patch under the pointer. */
  read() {
    const { maps, pointer } = this;
    if (!maps || !pointer) return;
    const box = this.canvas.getBoundingClientRect();
    const cell = (part, cells) => Math.max(0, Math.min(cells - 1, Math.floor(part * cells)));
    const row = cell((pointer.y - box.top) / box.height, maps.rows);
    const column = cell((pointer.x - box.left) / box.width, maps.columns);
    const patch = row * maps.columns + column;
    const map = mapOf(maps, this.clock.frame);
    const score = (maps.scores[map * maps.patches + patch] / 255).toFixed(2);
    const text = isKept(maps, map, patch) ? score : "pruned";
    this.part("pointer").textContent = `row ${row + 1}, column ${column + 1}: ${text}`;
  }

  tellPlaying() {
    const playing = this.clock.isPlaying;
    const button = this.button("play");
    button.setAttribute("aria-pressed", String(playing));
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
    button.title = `${playing ? "Pause" : "Play"} (Space)`;
    if (!playing) this.nameFrame();
  }

  broken() {
    this.part("broken").hidden = false;
    this.part("video").hidden = true;
    this.button("play").disabled = true;
  }

  /** The address names the frame, so that what is seen can be sent to a colleague. */
  nameFrame() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.root.isConnected) return;
      const address = new URL(location.href);
      const { frame } = this.clock;
      if (frame === Number(address.searchParams.get("frame") || 0)) return;
      const maps = new URL(this.root.dataset.maps, location.href);
      address.searchParams.set("video", maps.searchParams.get("video"));
      address.searchParams.set("frame", String(frame));
      history.replaceState(history.state, "", address);
    }, ADDRESS_MS);
  }

  // ---- controls -------------------------------------------------------------------------------

  act(name) {
    const { clock } = this;
    if (name === "play") clock.toggle();
    else if (name === "back") clock.go(clock.now - 1);
    else if (name === "forward") clock.go(clock.now + 1);
    else if (name === "snippet-back") this.stepSnippet(-1);
    else if (name === "snippet-forward") this.stepSnippet(1);
    else if (name === "highest") this.highest();
    else if (name === "keys") this.root.querySelector("dialog").showModal();
    else if (name === "map" || name === "truth") {
      this.options[name] = !this.options[name];
      this.button(name).setAttribute("aria-pressed", String(this.options[name]));
      this.paint();
    }
  }

  /** Back goes to the start of the snippet first, as players do with chapters. */
  stepSnippet(direction) {
    if (!this.maps) return;
    const { starts, n } = this.maps;
    const { now, count } = this.clock;
    const snippet = snippetOf(this.maps, now);
    const back = now > starts[snippet] ? snippet : Math.max(0, snippet - 1);
    const to = direction > 0 ? snippet + 1 : back;
    this.clock.go(to < n ? starts[to] : count - 1);
  }

  highest() {
    if (!this.maps) return;
    const { evaluated, stage2, starts } = this.maps;
    const scores = evaluated.every(Number.isFinite) ? evaluated : stage2;
    this.clock.go(starts[scores.indexOf(Math.max(...scores))]);
  }

  listen() {
    const { signal } = this.abort;
    const stage = this.part("stage");
    const on = (element, name, act) => element.addEventListener(name, act, { signal });
    on(this.root, "click", ({ target }) => {
      const button = target.closest("[data-viewer-do]");
      if (button) this.act(button.dataset.viewerDo);
    });
    const slider = (name, act) => on(this.part(name), "input", ({ target }) => act(Number(target.value)));
    slider("position", (frame) => this.clock.go(frame));
    slider("opacity", (percent) => {
      this.options.opacity = percent / 100;
      this.part("opacity-value").textContent = `${percent} %`;
      this.paint();
    });
    slider("threshold", (percent) => this.cut(percent));
    this.part("mark").style.left = `${100 * this.options.threshold}%`;
    on(stage, "pointermove", ({ clientX, clientY }) => {
      this.pointer = { x: clientX, y: clientY };
      this.read();
    });
    on(stage, "pointerleave", () => {
      this.pointer = null;
      this.part("pointer").textContent = POINT;
    });
  }

  cut(percent) {
    this.options.threshold = percent / 100;
    this.part("threshold-value").textContent = (percent / 100).toFixed(2);
    this.part("mark").style.left = `${percent}%`;
    this.paint();
  }

  /** Keys are this viewer's while it is in sight and nobody writes or has a menu open. */
  takesKeys(target) {
    if (this.root.contains(target)) return true;
    if (target.closest("input, textarea, select, [contenteditable], details.menu[open]")) return false;
    const { top, bottom } = this.part("stage").getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  }

  leave() {
    this.abort.abort();
    this.resizes.disconnect();
    clearTimeout(this.timer);
    const video = this.part("video");
    if (!video) return;
    video.pause();
    video.removeAttribute("src"); // what it still loads is no longer wanted
    video.load();
  }
}

function truthText({ boxes, patches, intervals }) {
  if (boxes.length) return "truth: boxes";
  if (patches.length) return "truth: patches of the masks";
  return intervals.length ? "truth: nobody marked the place" : "truth: no anomaly in this video";
}

function timeText(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")} min`;
}

/** The message of the API's one error shape. */
async function reason(answer) {
  try {
    const { message, hint } = await answer.json();
    return [message, hint].filter(Boolean).join(" ");
  } catch {
    return `The maps could not be loaded (${answer.status}). Reload the page.`;
  }
}

// ---- the page -----------------------------------------------------------------------------------

const KEYS = { " ": "play", m: "map", t: "truth", h: "highest", "?": "keys" };

document.addEventListener("keydown", (event) => {
  const { target, key, shiftKey } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const viewer = [...viewers.values()].find((each) => each.takesKeys(target));
  if (!viewer) return;
  let name = KEYS[key.toLowerCase()];
  if (key === "ArrowLeft") name = shiftKey ? "snippet-back" : "back";
  if (key === "ArrowRight") name = shiftKey ? "snippet-forward" : "forward";
  if (!name) return;
  if (key === " " && target.matches("button, summary, a")) return; // its own key
  const isSlider = target.matches("input:not([data-viewer-position])");
  if (isSlider && key.startsWith("Arrow")) return;
  event.preventDefault();
  viewer.act(name);
});

function attachAll() {
  for (const [root, viewer] of viewers) {
    if (root.isConnected) continue;
    viewers.delete(root);
    viewer.leave();
  }
  for (const root of document.querySelectorAll("[data-viewer]")) {
    if (viewers.has(root)) continue;
    const viewer = new Viewer(root);
    viewers.set(root, viewer);
    root.vadlab = {
      get frame() {
        return viewer.clock.frame;
      },
      get ready() {
        return Boolean(viewer.maps);
      },
      get playing() {
        return viewer.clock.isPlaying;
      },
      stats: viewer.stats,
    };
  }
}

document.addEventListener("htmx:afterSettle", attachAll);
attachAll();

// The matrix of patches over time: a row a patch, a column a pixel of the time axis above, the
// highest score of what a pixel covers. It is drawn once into a bitmap, part by part as the maps
// come; the playhead is an element above it, so playing draws nothing here.

import { DIFFERENCES, SCORES } from "./viewer-colours.js";
import { isKept, mapOf, shared, snippetOf } from "./viewer-maps.js";

const ABOUT = {
  scores: "the highest score that a pixel covers; blank where pruned",
  differences: "the largest difference that a pixel covers; white is none",
};
const EDGE = 8; // px at the top for the truth
const NOTHING = 512; // no score: not loaded, or pruned all over the pixel

export class Matrix {
  /** element: [data-viewer-matrix]. on: {go(frame), pick([{run, row, column}])}. */
  constructor(element, { data, frames, on, signal }) {
    this.part = (name) => element.querySelector(`[data-viewer-matrix-${name}]`);
    this.data = data;
    this.frames = frames;
    this.on = on;
    this.canvas = this.part("canvas");
    this.bitmap = document.createElement("canvas");
    this.view = null;
    this.band = null; // {left, width, range}, from the curve above
    this.drawings = 0;
    this.say("");
    const listen = (target, name, act) => target.addEventListener(name, act, { signal });
    listen(this.canvas, "pointermove", (event) => this.read(event));
    listen(this.canvas, "pointerleave", () => this.say(""));
    listen(this.canvas, "click", (event) => {
      const found = this.at(event);
      if (!found) return;
      this.on.go(found.frame);
      this.on.pick(found.patches);
    });
    listen(document, "vadlab:theme", () => this.draw());
    this.resizes = new ResizeObserver(() => this.renew());
    this.resizes.observe(this.part("body"));
  }

  /**
   * view: {a, b, runA, runB, byHighest, picked}: maps of the chosen run, and of the other one (null
   * unless it is to be subtracted); picked: patches of the grid that are marked.
   */
  show(view) {
    this.view = view;
    const { a, b } = view;
    this.grid = null;
    if (a.isReady && (!b || b.isReady)) this.grid = b ? shared(a, b) : a;
    this.say("");
    this.renew();
  }

  /** The chosen run has no maps. */
  clear() {
    this.view = this.grid = null;
    this.wipe();
  }

  wipe() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  setBand(band) {
    const body = this.part("body").getBoundingClientRect();
    const next = { left: band.left - body.left, width: band.width, range: band.range };
    if (JSON.stringify(next) === JSON.stringify(this.band)) return;
    this.band = next;
    this.renew();
    this.follow(this.frame);
  }

  /** Maps came: only their columns are drawn again, unless they may change the order. */
  add(first, n) {
    if (!this.grid || this.view.byHighest || this.waiting) {
      this.show(this.view);
      return;
    }
    this.gather(first, n);
    this.draw();
  }

  /** All anew with the next picture, however often it is asked for. */
  renew() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (!this.canvas.isConnected) return;
      if (!this.grid) {
        this.wipe(); // of the run before
        return;
      }
      const box = this.part("body").getBoundingClientRect();
      this.scale = Math.min(2, window.devicePixelRatio || 1);
      this.canvas.width = Math.max(1, Math.round(box.width * this.scale));
      this.canvas.height = Math.max(1, Math.round(box.height * this.scale));
      this.band ||= { left: 60, width: Math.max(1, box.width - 80), range: [0, this.frames] };
      this.order();
      this.bitmap.width = Math.max(1, Math.round(this.band.width * this.scale));
      this.bitmap.height = Math.min(this.grid.patches, Math.max(1, this.canvas.height - EDGE * this.scale));
      this.best = new Int16Array(this.bitmap.width * this.bitmap.height).fill(NOTHING);
      this.gather(0, this.view.a.n);
      this.draw();
      this.follow(this.frame);
    });
  }

  /** place[patch]: its row, as it lies in the frame or by its highest score. */
  order() {
    const { patches } = this.grid;
    const ranked = Array.from({ length: patches }, (_, p) => p);
    if (this.view.byHighest) {
      const { a, b } = this.view;
      const highest = new Int16Array(patches);
      for (let m = 0; m < a.n * a.t; m++) {
        for (let p = 0; p < patches; p++) {
          const value = a.scores[m * a.patches + (b ? this.grid.ofA[p] : p)];
          if (value > highest[p]) highest[p] = value;
        }
      }
      ranked.sort((p, q) => highest[q] - highest[p] || p - q);
    }
    this.ranked = ranked;
    this.place = new Int32Array(patches);
    ranked.forEach((p, row) => (this.place[p] = row));
  }

  /** The columns of these snippets of run a, into the bitmap. */
  gather(first, n) {
    const { a, b } = this.view;
    const { width, height } = this.bitmap;
    const [low, high] = this.band.range;
    const { patches, ofA, ofB } = this.grid;
    const pixels = width / Math.max(1e-9, high - low);
    const row = this.place.map((place) => Math.floor((place * height) / patches));
    let from = width;
    let to = 0;
    for (let s = first; s < Math.min(a.n, first + n); s++) {
      if (!a.loaded[s]) continue;
      const start = a.starts[s];
      const end = s + 1 < a.n ? a.starts[s + 1] : a.frames;
      if (end <= low || start >= high) continue;
      for (let k = 0; k < a.t; k++) {
        const begin = start + ((end - start) * k) / a.t;
        const stop = start + ((end - start) * (k + 1)) / a.t;
        const left = Math.max(0, Math.floor((begin - low) * pixels));
        const right = Math.min(width, Math.max(left + 1, Math.ceil((stop - low) * pixels)));
        if (right <= left) continue;
        const middle = Math.floor((begin + stop) / 2);
        if (b && !b.has(middle)) continue;
        const ofThis = (s * a.t + k) * a.patches;
        const ofOther = b ? mapOf(b, middle) * b.patches : 0;
        for (let p = 0; p < patches; p++) {
          let value;
          if (b) value = a.scores[ofThis + ofA[p]] - b.scores[ofOther + ofB[p]];
          else if (!(value = a.scores[ofThis + p])) continue;
          for (let x = left, at = row[p] * width + left; x < right; x++, at++) {
            const old = this.best[at];
            if (old === NOTHING || Math.abs(value) > Math.abs(old)) this.best[at] = value;
          }
        }
        from = Math.min(from, left);
        to = Math.max(to, right);
      }
    }
    if (to > from) this.colour(from, to - from);
  }

  colour(from, width) {
    const { best, bitmap } = this;
    const image = new ImageData(width, bitmap.height);
    const colours = this.view.b ? DIFFERENCES : SCORES;
    const zero = this.view.b ? 255 : 0;
    for (let y = 0, to = 0; y < bitmap.height; y++) {
      for (let x = 0, at = y * bitmap.width + from; x < width; x++, at++, to += 4) {
        const value = best[at];
        if (value === NOTHING) continue;
        const colour = 3 * (value + zero);
        image.data[to] = colours[colour];
        image.data[to + 1] = colours[colour + 1];
        image.data[to + 2] = colours[colour + 2];
        image.data[to + 3] = 255;
      }
    }
    bitmap.getContext("2d").putImageData(image, from, 0);
  }

  draw() {
    if (!this.grid || !this.best) return;
    const { canvas, scale, bitmap, band } = this;
    const context = canvas.getContext("2d");
    const top = EDGE * scale;
    const left = Math.round(band.left * scale);
    const look = getComputedStyle(canvas); // its colours are roles, and follow the theme
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(bitmap, left, top, bitmap.width, canvas.height - top);
    this.drawTruth(context, left, look.outlineColor);
    this.drawRows(context, left, look.color);
    this.drawings++;
  }

  drawTruth(context, left, colour) {
    const { scale, band, bitmap } = this;
    const [low, high] = band.range;
    const x = (frame) => left + ((Math.max(low, Math.min(high, frame)) - low) / (high - low)) * bitmap.width;
    context.fillStyle = context.strokeStyle = colour;
    context.lineWidth = scale;
    for (const [start, end] of this.data.truth) {
      if (end <= low || start >= high) continue;
      context.save();
      context.beginPath();
      context.rect(x(start), 0, Math.max(scale, x(end) - x(start)), (EDGE - 2) * scale);
      context.stroke();
      context.clip();
      context.beginPath();
      for (let at = x(start) - EDGE * scale; at < x(end); at += 4 * scale) {
        context.moveTo(at, EDGE * scale);
        context.lineTo(at + EDGE * scale, 0);
      }
      context.stroke();
      context.restore();
    }
  }

  /** At the left, which rows are what, and a mark at those whose curves are drawn. */
  drawRows(context, left, colour) {
    const { canvas, scale, grid, view } = this;
    const top = EDGE * scale;
    const height = (canvas.height - top) / grid.patches;
    context.fillStyle = colour;
    context.font = `${11 * scale}px ${getComputedStyle(canvas).fontFamily}`;
    context.textAlign = "right";
    context.textBaseline = "top";
    const label = (text, row) => context.fillText(text, left - 10 * scale, top + row * height, left - 12 * scale);
    if (view.byHighest) {
      label("highest", 0);
    } else {
      const block = grid.columns * height;
      const every = Math.max(1, Math.ceil((13 * scale) / block));
      for (let r = 0; r < grid.rows; r += every) label(`row ${r + 1}`, r * grid.columns);
    }
    for (const { patch, color } of view.picked) {
      context.fillStyle = color;
      const middle = top + (this.place[patch] + 0.5) * height;
      context.fillRect(left - 7 * scale, middle - 2 * scale, 6 * scale, 4 * scale);
    }
  }

  follow(frame) {
    this.frame = frame;
    const line = this.part("playhead");
    if (!this.band || frame === undefined) return;
    const [low, high] = this.band.range;
    line.hidden = frame < low || frame > high;
    const at = this.band.left + ((frame - low) / (high - low)) * this.band.width;
    line.style.transform = `translateX(${at}px)`;
  }

  // ---- under the pointer ------------------------------------------------------------------------

  /** The frame at a place of the screen, the patch of the grid, and of each run. */
  at({ clientX, clientY }) {
    if (!this.grid || !this.band) return null;
    const box = this.canvas.getBoundingClientRect();
    const { left, width, range } = this.band;
    const across = (clientX - box.left - left) / width;
    const down = (clientY - box.top - EDGE) / (box.height - EDGE);
    if (across < 0 || across >= 1 || down < 0 || down >= 1) return null;
    const { a, b, runA, runB } = this.view;
    const frame = Math.max(0, Math.min(this.frames - 1, Math.floor(range[0] + across * (range[1] - range[0]))));
    const patch = this.ranked[Math.floor(down * this.grid.patches)];
    const cellOf = (maps, run, p) => ({ run, row: Math.floor(p / maps.columns), column: p % maps.columns });
    const patches = [cellOf(a, runA, b ? this.grid.ofA[patch] : patch)];
    if (b) patches.push(cellOf(b, runB, this.grid.ofB[patch]));
    return { frame, patch, patches };
  }

  read(event) {
    const found = this.at(event);
    if (!found) {
      this.say("");
      return;
    }
    const { a, b } = this.view;
    const value = (maps, { row, column }) => {
      if (!maps.loaded[snippetOf(maps, found.frame)]) return null;
      const map = mapOf(maps, found.frame);
      const patch = row * maps.columns + column;
      return isKept(maps, map, patch) ? maps.scores[map * maps.patches + patch] / 255 : 0;
    };
    const [one, two] = found.patches;
    const ofA = value(a, one);
    const ofB = b ? value(b, two) : null;
    let text = ofA === null ? "not loaded yet" : ofA.toFixed(2);
    if (b && ofA !== null && ofB !== null) text = `${(ofA - ofB).toFixed(2).replace("-", "−")} (${ofA.toFixed(2)} − ${ofB.toFixed(2)})`;
    this.say(`frame ${found.frame.toLocaleString("en-US")}, row ${one.row + 1}, column ${one.column + 1}: ${text}`);
  }

  say(text) {
    this.part("note").textContent = text || ABOUT[this.view?.b ? "differences" : "scores"];
  }

  leave() {
    this.resizes.disconnect();
  }
}

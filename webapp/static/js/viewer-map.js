// Paints one frame of the maps over a picture: of one run, of two beside a divider, or what two
// differ by.

import { differenceAlpha, DIFFERENCES, SCORES } from "./viewer-colours.js";
import { isKept, mapOf, shared } from "./viewer-maps.js";

const LIMIT = "#6fd3ff"; // the border of what reaches the threshold; inferno has no blue
const HATCH = 7; // px between the lines over what was pruned

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.small = document.createElement("canvas"); // a pixel a patch
    this.hatch = hatching(this.context);
    this.scale = 1;
  }

  /** Pixels of the canvas as on the screen, at most two a CSS pixel. */
  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.scale = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(width * this.scale));
    this.canvas.height = Math.max(1, Math.round(height * this.scale));
  }

  /**
   * One frame of one run. options: opacity and threshold (0 to 1), map and truth (on or off);
   * truth: {boxes, patches} of this frame; picked: patches with a border of their own.
   * maps may be null: then only the truth is drawn. Returns how many patches reach the threshold.
   */
  paint(maps, frame, truth, options, picked = []) {
    this.clear();
    return this.layer(maps, frame, truth, options, picked);
  }

  /** Left of `at` (0 to 1 of the width) one run, right of it another. left, right: as for `paint`. */
  wipe(left, right, at, frame, options) {
    const { context, canvas } = this;
    this.clear();
    const middle = Math.round(at * canvas.width);
    const parts = [
      [left, 0, middle],
      [right, middle, canvas.width - middle],
    ];
    return parts.map(([{ maps, truth, picked }, x, width]) => {
      context.save();
      context.beginPath();
      context.rect(x, 0, width, canvas.height);
      context.clip();
      const count = this.layer(maps, frame, truth, options, picked);
      context.restore();
      return count;
    })[0];
  }

  /** Run a minus run b, on the grid that both share; the truth as a has it. */
  difference(a, b, frame, truth, options, picked = []) {
    this.clear();
    if (options.map && a.has(frame) && b.has(frame)) {
      const grid = this.gridOf(a, b);
      const ofA = mapOf(a, frame);
      const ofB = mapOf(b, frame);
      this.fill(
        grid,
        options.opacity,
        (p, pixel) => {
          const d = a.scores[ofA * a.patches + grid.ofA[p]] - b.scores[ofB * b.patches + grid.ofB[p]];
          const from = 3 * (d + 255);
          pixel[0] = DIFFERENCES[from];
          pixel[1] = DIFFERENCES[from + 1];
          pixel[2] = DIFFERENCES[from + 2];
          pixel[3] = differenceAlpha(d, options.opacity);
        },
        (p) => isKept(a, ofA, grid.ofA[p]) && isKept(b, ofB, grid.ofB[p]),
      );
    }
    if (options.truth) this.places(a, truth);
    this.pick(a, picked);
  }

  gridOf(a, b) {
    if (this.pair?.a !== a || this.pair?.b !== b) this.pair = { a, b, grid: shared(a, b) };
    return this.pair.grid;
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  layer(maps, frame, truth, options, picked) {
    let count = 0;
    let limits = null;
    if (maps && (!maps.has || maps.has(frame))) {
      const map = mapOf(maps, frame);
      const limit = Math.max(1, Math.ceil(options.threshold * 255 - 1e-6));
      const first = map * maps.patches;
      const reaches = (p) => maps.scores[first + p] >= limit;
      for (let p = 0; p < maps.patches; p++) if (reaches(p)) count++;
      if (options.map) {
        if (count) limits = this.edges(maps, reaches);
        this.fill(
          maps,
          options.opacity,
          (p, pixel) => {
            const score = maps.scores[first + p];
            pixel[0] = SCORES[3 * score];
            pixel[1] = SCORES[3 * score + 1];
            pixel[2] = SCORES[3 * score + 2];
            pixel[3] = options.opacity * score;
          },
          (p) => isKept(maps, map, p),
        );
      }
    }
    if (limits) this.outline(limits, LIMIT, 2);
    if (options.truth) {
      this.places(maps, truth);
      if (limits) this.dash(limits, LIMIT, 2); // seen where it lies under the truth
    }
    if (maps) this.pick(maps, picked);
    return count;
  }

  places(maps, truth) {
    if (truth.patches.length && maps) {
      const marked = new Set(truth.patches);
      this.outline(this.edges(maps, (p) => marked.has(p)), "#fff", 2);
    }
    if (truth.boxes.length) this.outline(this.boxes(truth.boxes), "#fff", 2);
  }

  /** The patches whose curves are drawn: a thin dotted border. */
  pick(maps, picked) {
    if (!picked.length) return;
    const chosen = new Set(picked);
    const path = this.edges(maps, (p) => chosen.has(p));
    this.dash(path, "#000", 3, [2, 3]);
    this.dash(path, "#fff", 1.5, [2, 3]);
  }

  /** A pixel a patch, scaled up; the hatch over what was not kept. */
  fill(grid, opacity, colour, kept) {
    const { context, canvas, small } = this;
    if (small.width !== grid.columns || small.height !== grid.rows) {
      small.width = grid.columns;
      small.height = grid.rows;
    }
    const onto = small.getContext("2d", { willReadFrequently: true });
    const image = onto.createImageData(grid.columns, grid.rows);
    const pixel = new Uint8ClampedArray(4);
    const pruned = new Path2D();
    let any = false;
    for (let p = 0; p < grid.patches; p++) {
      colour(p, pixel);
      image.data.set(pixel, 4 * p);
      if (!kept(p)) {
        any = true;
        pruned.rect(...this.cell(grid, p));
      }
    }
    onto.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (any) {
      context.globalAlpha = 0.25 + 0.75 * opacity;
      context.fillStyle = this.hatch;
      context.fill(pruned);
      context.globalAlpha = 1;
    }
  }

  cell(maps, patch) {
    const width = this.canvas.width / maps.columns;
    const height = this.canvas.height / maps.rows;
    return [(patch % maps.columns) * width, Math.floor(patch / maps.columns) * height, width, height];
  }

  /** The border of a set of patches, without the lines between two of them. */
  edges(maps, inside) {
    const path = new Path2D();
    const { rows, columns } = maps;
    const at = (row, column) =>
      row >= 0 && row < rows && column >= 0 && column < columns && inside(row * columns + column);
    const inset = this.scale; // the frame's own border would cut the line in half
    const x = (c) => clamp((c * this.canvas.width) / columns, inset, this.canvas.width - inset);
    const y = (r) => clamp((r * this.canvas.height) / rows, inset, this.canvas.height - inset);
    const line = (a, b, c, d) => {
      path.moveTo(x(a), y(b));
      path.lineTo(x(c), y(d));
    };
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        if (!at(r, c)) continue;
        if (!at(r - 1, c)) line(c, r, c + 1, r);
        if (!at(r + 1, c)) line(c, r + 1, c + 1, r + 1);
        if (!at(r, c - 1)) line(c, r, c, r + 1);
        if (!at(r, c + 1)) line(c + 1, r, c + 1, r + 1);
      }
    }
    return path;
  }

  boxes(boxes) {
    const path = new Path2D();
    const { width, height } = this.canvas;
    const inset = this.scale;
    for (const [x0, y0, x1, y1] of boxes) {
      const left = clamp(x0 * width, inset, width - inset);
      const top = clamp(y0 * height, inset, height - inset);
      path.rect(
        left,
        top,
        clamp(x1 * width, inset, width - inset) - left,
        clamp(y1 * height, inset, height - inset) - top,
      );
    }
    return path;
  }

  dash(path, colour, width, lengths = [6, 8]) {
    const { context, scale } = this;
    context.setLineDash(lengths.map((length) => length * scale));
    context.lineCap = "butt";
    context.strokeStyle = colour;
    context.lineWidth = width * scale;
    context.stroke(path);
    context.setLineDash([]);
  }

  /** A line with a dark halo, to be seen on any picture. */
  outline(path, colour, width) {
    const { context, scale } = this;
    context.lineCap = "square";
    context.lineJoin = "miter";
    context.strokeStyle = "rgba(8, 10, 14, 0.75)";
    context.lineWidth = (width + 2) * scale;
    context.stroke(path);
    context.strokeStyle = colour;
    context.lineWidth = width * scale;
    context.stroke(path);
  }
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/** Thin diagonal lines, light on dark, so that they are seen on both. */
function hatching(context) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = HATCH;
  const onto = tile.getContext("2d");
  onto.fillStyle = "rgba(10, 12, 16, 0.16)";
  onto.fillRect(0, 0, HATCH, HATCH);
  onto.strokeStyle = "rgba(255, 255, 255, 0.3)";
  onto.lineWidth = 0.8;
  onto.beginPath();
  for (const shift of [-HATCH, 0, HATCH]) {
    onto.moveTo(shift - 1, HATCH + 1);
    onto.lineTo(shift + HATCH + 1, -1);
  }
  onto.stroke();
  return context.createPattern(tile, "repeat");
}

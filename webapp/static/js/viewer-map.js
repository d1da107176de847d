// The maps of a video: read from the bytes of /api/v1/evaluations/<id>/maps/ (their layout is in
// webapp/evaluations/maps.py), and painted over a frame.

const HEADER = 24;
const LIMIT = "#6fd3ff"; // the border of what reaches the threshold; inferno has no blue
const HATCH = 7; // px between the lines over what was pruned

/** The maps as typed arrays; throws where the bytes are not what they should be. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const magic = buffer.byteLength < HEADER ? "" : String.fromCharCode(...new Uint8Array(buffer, 0, 4));
  if (magic !== "VMAP" || view.getUint16(4, true) !== 1) throw new Error("These are no maps. Reload the page.");
  const t = view.getUint16(6, true);
  const n = view.getUint32(8, true);
  const rows = view.getUint16(12, true);
  const columns = view.getUint16(14, true);
  const patches = rows * columns;
  const packed = Math.ceil(patches / 8);
  let at = HEADER;
  const next = (Type, count) => {
    const part = new Type(buffer, at, count);
    at += part.byteLength;
    return part;
  };
  return {
    n,
    t,
    rows,
    columns,
    patches,
    packed,
    frames: view.getUint32(16, true),
    starts: next(Int32Array, n),
    stage1: next(Float32Array, n),
    stage2: next(Float32Array, n),
    evaluated: next(Float32Array, n),
    scores: next(Uint8Array, n * t * patches),
    kept: next(Uint8Array, n * t * packed),
  };
}

/** The snippet of a frame. */
export function snippetOf(maps, frame) {
  let low = 0;
  let high = maps.n - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (maps.starts[middle] <= frame) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Which of the n * t maps holds for a frame: the tubelets share the frames of their snippet. */
export function mapOf(maps, frame) {
  const snippet = snippetOf(maps, frame);
  const start = maps.starts[snippet];
  const end = snippet + 1 < maps.n ? maps.starts[snippet + 1] : maps.frames;
  const share = (frame - start) / Math.max(1, end - start);
  return snippet * maps.t + Math.max(0, Math.min(maps.t - 1, Math.floor(share * maps.t)));
}

export function isKept(maps, map, patch) {
  return (maps.kept[map * maps.packed + (patch >> 3)] & (128 >> (patch & 7))) !== 0;
}

// ---- colours ----------------------------------------------------------------------------------

// Inferno (van der Walt and Smith, CC0) as polynomials of degree 6 (Zucker, CC0), lowest first.
const INFERNO = [
  [0.000219, 0.106513, 11.602493, -41.703996, 77.162936, -71.319428, 25.131126],
  [0.001651, 0.563956, -3.972854, 17.436399, -33.402359, 32.626064, -12.242669],
  [-0.019481, 3.932712, -15.942394, 44.354145, -81.807309, 73.20952, -23.070325],
];
const CUT = 0.1; // its darkest tenth cannot be told from a shadow

/** [256 * 3] bytes: the colour of each score. */
export const COLOURS = Uint8ClampedArray.from({ length: 768 }, (_, i) => {
  const x = CUT + ((1 - CUT) * Math.floor(i / 3)) / 255;
  return 255 * INFERNO[i % 3].reduceRight((sum, c) => sum * x + c, 0);
});

/** Fill a canvas of 256 x 1 with the scale. */
export function paintScale(canvas) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) {
    image.data.set([...COLOURS.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

// ---- painting -----------------------------------------------------------------------------------

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
   * One frame. options: opacity and threshold (0 to 1), map and truth (on or off);
   * truth: {boxes, patches} of this frame. Returns how many patches reach the threshold.
   */
  paint(maps, frame, truth, options) {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const map = mapOf(maps, frame);
    const limit = Math.max(1, Math.ceil(options.threshold * 255 - 1e-6));
    const first = map * maps.patches;
    const reaches = (p) => maps.scores[first + p] >= limit;
    let count = 0;
    for (let p = 0; p < maps.patches; p++) if (reaches(p)) count++;
    const limits = options.map && count ? this.edges(maps, reaches) : null;
    if (options.map) this.fill(maps, map, options.opacity);
    if (limits) this.outline(limits, LIMIT, 2);
    if (options.truth) {
      if (truth.patches.length) {
        const marked = new Set(truth.patches);
        this.outline(this.edges(maps, (p) => marked.has(p)), "#fff", 2);
      }
      if (truth.boxes.length) this.outline(this.boxes(truth.boxes), "#fff", 2);
      if (limits) this.dash(limits, LIMIT, 2); // seen where it lies under the truth
    }
    return count;
  }

  fill(maps, map, opacity) {
    const { context, canvas, small } = this;
    if (small.width !== maps.columns || small.height !== maps.rows) {
      small.width = maps.columns;
      small.height = maps.rows;
    }
    const onto = small.getContext("2d", { willReadFrequently: true });
    const image = onto.createImageData(maps.columns, maps.rows);
    const pruned = new Path2D();
    let any = false;
    for (let p = 0; p < maps.patches; p++) {
      const score = maps.scores[map * maps.patches + p];
      image.data[4 * p] = COLOURS[3 * score];
      image.data[4 * p + 1] = COLOURS[3 * score + 1];
      image.data[4 * p + 2] = COLOURS[3 * score + 2];
      image.data[4 * p + 3] = opacity * score;
      if (!isKept(maps, map, p)) {
        any = true;
        pruned.rect(...this.cell(maps, p));
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

  dash(path, colour, width) {
    const { context, scale } = this;
    context.setLineDash([6 * scale, 8 * scale]);
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

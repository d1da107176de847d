// The maps of one run over one video: fetched in parts as bytes of /api/v1/evaluations/<id>/maps/
// (their layout is in webapp/evaluations/maps.py), first where the playhead is, then ahead of it.

const HEADER = 28;
const PART_BYTES = 96_000; // about what is decoded and sent in a few milliseconds

/** A part as typed arrays over its bytes; throws where they are not what they should be. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const magic = buffer.byteLength < HEADER ? "" : String.fromCharCode(...new Uint8Array(buffer, 0, 4));
  if (magic !== "VMAP" || view.getUint16(4, true) !== 2) throw new Error("These are no maps. Reload the page.");
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
    first: view.getUint32(20, true),
    total: view.getUint32(24, true),
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
  let high = maps.starts.length - 1;
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

/**
 * The grid that two runs share, the finer one of each direction, and which patch of either lies
 * there: the nearest, so no score is made up.
 */
export function shared(a, b) {
  const rows = Math.max(a.rows, b.rows);
  const columns = Math.max(a.columns, b.columns);
  const nearest = (maps) =>
    Uint16Array.from({ length: rows * columns }, (_, p) => {
      const row = Math.floor(((Math.floor(p / columns) + 0.5) / rows) * maps.rows);
      const column = Math.floor((((p % columns) + 0.5) / columns) * maps.columns);
      return row * maps.columns + column;
    });
  return { rows, columns, patches: rows * columns, ofA: nearest(a), ofB: nearest(b) };
}

/** All maps of a run. It looks like one decoded part, in which `has` says what is there. */
export class Maps {
  /**
   * run: {maps, grid, starts, frames} of the page's data.
   * on: {part(first, n), failed(text)}.
   */
  constructor(run, { frame, signal, on }) {
    const [rows, columns, t] = run.grid;
    Object.assign(this, { rows, columns, t, patches: rows * columns, packed: Math.ceil((rows * columns) / 8) });
    this.address = run.maps;
    this.signal = signal;
    this.on = on;
    this.frames = run.frames;
    this.size = Math.max(16, Math.floor(PART_BYTES / (t * rows * columns)));
    this.isReady = false;
    this.focus = frame;
    this.known = run.starts;
    this.fetchAll();
  }

  /** Whether the map of a frame is there. */
  has(frame) {
    return this.isReady && this.loaded[snippetOf(this, frame)] === 1;
  }

  get isComplete() {
    return this.isReady && this.missing === 0;
  }

  async fetchAll() {
    try {
      for (let from = this.next(); from >= 0 && !this.signal.aborted; from = this.next()) {
        this.take(decode(await this.fetchPart(from)));
      }
    } catch (error) {
      if (error.name !== "AbortError") this.on.failed(error.message || "The maps could not be loaded.");
    }
  }

  async fetchPart(from) {
    const url = new URL(this.address, location.href);
    // a run whose scores are lost does not say where its snippets start: then all at once
    if (this.known.length) {
      url.searchParams.set("from", String(from));
      url.searchParams.set("to", String(this.end(from)));
    }
    const answer = await fetch(url, { signal: this.signal, credentials: "same-origin" });
    if (!answer.ok) throw new Error(await reason(answer));
    return answer.arrayBuffer();
  }

  /** The first missing snippet from the playhead on, then from the start; -1 when there is none. */
  next() {
    if (!this.isReady) {
      if (!this.known.length) return 0;
      return Math.max(0, snippetOf({ starts: this.known }, this.focus) - 4);
    }
    const ahead = this.loaded.indexOf(0, snippetOf(this, this.focus));
    return ahead >= 0 ? ahead : this.loaded.indexOf(0);
  }

  /** Where a part that starts there ends: at its full size, or before what is there already. */
  end(from) {
    const there = this.isReady ? this.loaded.indexOf(1, from) : -1;
    return there < 0 ? from + this.size : Math.min(from + this.size, there);
  }

  take(part) {
    if (!this.isReady) this.allocate(part);
    const { t, patches, packed } = this;
    for (const name of ["stage1", "stage2", "evaluated", "starts"]) this[name].set(part[name], part.first);
    this.scores.set(part.scores, part.first * t * patches);
    this.kept.set(part.kept, part.first * t * packed);
    for (let s = part.first; s < part.first + part.n; s++) {
      if (!this.loaded[s]) this.missing--;
      this.loaded[s] = 1;
    }
    this.on.part(part.first, part.n);
  }

  allocate(part) {
    const n = part.total;
    const { t, patches, packed } = this;
    this.n = this.missing = n;
    this.frames = part.frames;
    this.loaded = new Uint8Array(n);
    this.starts = new Int32Array(n);
    if (this.known.length === n) this.starts.set(this.known);
    for (const name of ["stage1", "stage2", "evaluated"]) this[name] = new Float32Array(n).fill(NaN);
    this.scores = new Uint8Array(n * t * patches);
    this.kept = new Uint8Array(n * t * packed);
    this.isReady = true;
  }
}

/** The message of the API's one error shape. */
export async function reason(answer) {
  try {
    const { message, hint } = await answer.json();
    return [message, hint].filter(Boolean).join(" ");
  } catch {
    return `The maps could not be loaded (${answer.status}). Reload the page.`;
  }
}

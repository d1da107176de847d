// What a viewer's runs have of its video: the maps, and where the truth is in the frame. A run's are
// fetched when it is seen for the first time.

import { Maps, reason } from "./viewer-maps.js";

const NOWHERE = { boxes: [], patches: [], intervals: [], problem: "" };

export class Loading {
  /** on: {part(run, first, n), places(run), failed(text)}; frame: where the playhead is. */
  constructor(data, { frame, signal, on }) {
    Object.assign(this, { data, frame, signal, on });
    this.byRun = new Map(); // run -> Maps
    this.where = new Map(); // run -> the truth in the frame
  }

  /** The maps of a run, as far as they have come; null where it has none. */
  maps(run) {
    return this.byRun.get(run) || null;
  }

  get all() {
    return [...this.byRun.values()];
  }

  want(run, { places }) {
    const { data, frame, signal, on } = this;
    if (data.runs[run]?.maps && !this.byRun.has(run)) {
      const told = { part: (first, n) => on.part(run, first, n), failed: on.failed };
      this.byRun.set(run, new Maps(data.runs[run], { frame, signal, on: told }));
    }
    if (places && data.runs[run] && !this.where.has(run)) this.fetchPlaces(run);
  }

  /** The playhead moved: what is missing there comes first. */
  follow(frame) {
    this.frame = frame;
    for (const maps of this.all) maps.focus = frame;
  }

  async fetchPlaces(run) {
    this.where.set(run, NOWHERE);
    try {
      const answer = await fetch(this.data.runs[run].where, { signal: this.signal, credentials: "same-origin" });
      this.where.set(run, answer.ok ? await answer.json() : { ...NOWHERE, problem: await reason(answer) });
      this.on.places(run);
    } catch (error) {
      if (error.name !== "AbortError") this.on.failed("Where the truth is could not be loaded. Reload the page.");
    }
  }

  /** The truth in a frame: boxes, and patches of the run's own grid. */
  truthAt(run, frame) {
    const { boxes, patches } = this.where.get(run) || NOWHERE;
    const holds = ([start, end]) => start <= frame && frame < end;
    return {
      boxes: boxes.filter(holds).map((row) => row.slice(2)),
      patches: patches.filter(holds).flatMap((row) => row[2]),
    };
  }
}

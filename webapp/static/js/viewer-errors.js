// False alarms and misses at a threshold, by the rule of vad/evaluation/alarms.py, while the
// threshold is dragged: a test holds both to the same answers.

/**
 * starts, scores: a snippet; frames: of the video; truth: [start, end) of anomalous frames.
 * Returns {falseAlarms, misses}, each [{start, end, peak, beside}] in the order of frames.
 */
export function alarms({ starts, scores, frames }, truth, threshold) {
  const anomalies = merged(truth, frames);
  const edges = new Set(anomalies.flat());
  const falseAlarms = [];
  const reached = new Array(anomalies.length).fill(false);
  const peaks = new Array(anomalies.length).fill(-Infinity);
  const high = (start, end, score) => {
    if (start >= end) return;
    const last = falseAlarms.at(-1);
    if (last?.end === start) {
      last.end = end;
      last.peak = Math.max(last.peak, score);
    } else {
      falseAlarms.push({ start, end, peak: score });
    }
  };
  let first = 0; // anomalies before it have ended
  scores.forEach((score, s) => {
    let at = starts[s];
    const end = s + 1 < starts.length ? starts[s + 1] : frames;
    if (at >= end) return;
    while (first < anomalies.length && anomalies[first][1] <= at) first++;
    for (let i = first; i < anomalies.length && anomalies[i][0] < end; i++) {
      peaks[i] = Math.max(peaks[i], score);
      if (score < threshold) continue;
      reached[i] = true;
      high(at, Math.min(end, anomalies[i][0]), score);
      at = Math.max(at, anomalies[i][1]);
    }
    if (score >= threshold) high(at, end, score);
  });
  for (const found of falseAlarms) found.beside = edges.has(found.start) || edges.has(found.end);
  const misses = anomalies
    .map(([start, end], i) => ({ start, end, peak: peaks[i], beside: false }))
    .filter((_, i) => !reached[i]);
  return { falseAlarms, misses, anomalies: anomalies.length };
}

/** Intervals within the video, those that touch as one. */
function merged(intervals, frames) {
  const found = [];
  const inside = intervals
    .map(([start, end]) => [Math.max(0, start), Math.min(frames, end)])
    .filter(([start, end]) => start < end)
    .sort((a, b) => a[0] - b[0]);
  for (const [start, end] of inside) {
    const last = found.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else found.push([start, end]);
  }
  return found;
}

/** The list of errors beside the video: a heading a run, a button an error. */
export class ErrorList {
  constructor(place, { data, fps, go }) {
    this.place = place;
    this.data = data;
    this.fps = fps;
    this.all = []; // of all shown runs, in the order of frames
    place.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-viewer-error]");
      if (button) go(this.all[Number(button.dataset.viewerError)]);
    });
  }

  /** shown: run numbers from 0. */
  update(shown, threshold) {
    const { runs, truth } = this.data;
    const found = shown
      .filter((i) => runs[i].scores.length)
      .map((i) => ({ run: i, ...alarms(runs[i], truth, threshold) }));
    this.all = found
      .flatMap(({ run, falseAlarms, misses }) => [
        ...falseAlarms.map((each) => ({ run, kind: "False alarm", ...each })),
        ...misses.map((each) => ({ run, kind: "Miss", ...each })),
      ])
      .sort((x, y) => x.start - y.start || x.run - y.run);
    const focused = document.activeElement?.dataset?.viewerError;
    this.place.replaceChildren(...found.map((each) => this.group(each)));
    if (focused !== undefined) this.place.querySelector(`[data-viewer-error="${focused}"]`)?.focus();
  }

  group({ run, falseAlarms, misses, anomalies }) {
    const group = document.createElement("section");
    const head = document.createElement("h4");
    const mark = document.createElement("i");
    mark.style.background = this.data.runs[run].color;
    const counts = document.createElement("span");
    counts.className = "num muted";
    counts.textContent = `${count(falseAlarms.length, "false alarm")}, ${misses.length} of ${count(anomalies, "anomaly", "anomalies")} missed`;
    const name = document.createElement("span");
    name.className = "viewer-name";
    name.textContent = this.data.runs[run].name;
    head.append(mark, name, counts);
    const list = document.createElement("ul");
    this.all.forEach((error, i) => {
      if (error.run === run) list.append(this.row(error, i));
    });
    group.append(head, list);
    return group;
  }

  row(error, i) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.viewerError = String(i);
    button.dataset.kind = error.kind === "Miss" ? "miss" : "alarm";
    const kind = document.createElement("span");
    kind.textContent = error.kind;
    const where = document.createElement("span");
    where.className = "num";
    where.textContent = `${error.start.toLocaleString("en-US")} – ${(error.end - 1).toLocaleString("en-US")}`;
    const peak = document.createElement("span");
    peak.className = "num muted";
    peak.textContent = error.peak.toFixed(3);
    button.append(kind, where, peak);
    button.title = `${this.words(error)}${error.beside ? "; it touches an anomaly, so the score rose early or fell late" : ""}`;
    if (error.beside) kind.append(" (edge)");
    item.append(button);
    return item;
  }

  words({ run, kind, start, end, peak }) {
    const seconds = this.fps ? `, ${((end - start) / this.fps).toFixed(1)} s` : "";
    return `${kind} of ${this.data.runs[run].name}: frames ${start} to ${end - 1}${seconds}, highest score ${peak.toFixed(3)}`;
  }

  /** The error after or before a frame; null when there is none. */
  beside(frame, direction) {
    const starts = direction > 0 ? this.all : [...this.all].reverse();
    return starts.find((e) => (direction > 0 ? e.start > frame : e.start < frame)) || null;
  }

  mark(error) {
    const at = this.all.indexOf(error);
    for (const button of this.place.querySelectorAll("[data-viewer-error]")) {
      const isIt = Number(button.dataset.viewerError) === at;
      button.toggleAttribute("aria-current", isIt);
      if (isIt) this.reveal(button);
    }
  }

  /** Within the list only: the page stays where it is. */
  reveal(button) {
    const list = this.place.getBoundingClientRect();
    const row = button.getBoundingClientRect();
    if (row.top < list.top) this.place.scrollTop -= list.top - row.top;
    if (row.bottom > list.bottom) this.place.scrollTop += row.bottom - list.bottom;
  }
}

function count(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

// What the viewer shows, as the address has it: read once, written after each change, so that a
// link shows the same elsewhere. Runs, rows and columns are counted from 1 in the address and from
// 0 here; what is left out is the default.

export const MODES = ["one", "side", "wipe", "diff"];
export const SPEEDS = [0.25, 0.5, 1, 2, 4];
export const MOST_PATCHES = 6;
const OWN = ["mode", "a", "b", "threshold", "opacity", "map", "truth", "speed", "wipe", "hide", "rows", "patch"];

/** runs: of the page, each with `maps` or not. */
export function read(query, runs) {
  const mapped = runs.map((run, i) => (run.maps ? i : -1)).filter((i) => i >= 0);
  const place = (name) => {
    const value = whole(query.get(name)) - 1;
    return value >= 0 && value < runs.length ? value : -1;
  };
  const a = Math.max(0, place("a"));
  const b = place("b");
  const other = runs.findIndex((run, i) => i !== a && (run.maps || !mapped.length));
  const mode = MODES.includes(query.get("mode")) && mapped.length > 1 ? query.get("mode") : "one";
  const speed = Number(query.get("speed"));
  return {
    mode,
    a,
    b: b >= 0 && b !== a ? b : other,
    threshold: part(query.get("threshold"), 1, 0.5),
    opacity: part(query.get("opacity"), 100, 70) / 100,
    wipe: part(query.get("wipe"), 100, 50),
    map: query.get("map") !== "off",
    truth: query.get("truth") !== "off",
    speed: SPEEDS.includes(speed) ? speed : 1,
    byHighest: query.get("rows") === "highest",
    hidden: new Set(query.getAll("hide").map((n) => whole(n) - 1).filter((i) => i >= 0 && i < runs.length)),
    patches: query.getAll("patch").slice(0, MOST_PATCHES).flatMap((text) => patchOf(text, runs)),
  };
}

/** The query with this state; what is not the viewer's own stays as it is. */
export function write(query, state, runs) {
  const next = new URLSearchParams(query);
  for (const name of OWN) next.delete(name);
  const put = (name, value, usual) => {
    if (value !== usual) next.set(name, String(value));
  };
  const usual = read(new URLSearchParams(state.a ? { a: state.a + 1 } : {}), runs);
  put("frame", state.frame, null);
  if (!state.frame) next.delete("frame");
  put("mode", state.mode, "one");
  put("a", state.a + 1, 1);
  put("b", state.b + 1, usual.b + 1);
  put("threshold", round(state.threshold, 3), 0.5);
  put("opacity", Math.round(100 * state.opacity), 70);
  put("wipe", round(state.wipe, 1), 50);
  put("map", state.map ? "on" : "off", "on");
  put("truth", state.truth ? "on" : "off", "on");
  put("speed", state.speed, 1);
  put("rows", state.byHighest ? "highest" : "place", "place");
  for (const run of [...state.hidden].sort()) next.append("hide", String(run + 1));
  for (const { run, row, column } of state.patches) next.append("patch", `${run + 1}.${row + 1}.${column + 1}`);
  return next;
}

/** The query without one of its runs: what named it goes, those behind it move up. */
export function withoutRun(query, state, runs, gone) {
  const moved = (i) => (i > gone ? i - 1 : i);
  const left = runs.filter((_, i) => i !== gone);
  const kept = {
    ...state,
    a: state.a === gone ? 0 : moved(state.a),
    b: moved(state.b),
    mode: left.filter((run) => run.maps).length > 1 ? state.mode : "one",
    hidden: new Set([...state.hidden].filter((i) => i !== gone).map(moved)),
    patches: state.patches.filter((p) => p.run !== gone).map((p) => ({ ...p, run: moved(p.run) })),
  };
  if (state.b === gone || kept.b === kept.a) {
    kept.b = read(new URLSearchParams({ a: kept.a + 1 }), left).b;
  }
  const next = write(query, kept, left);
  next.delete("run");
  for (const run of left) next.append("run", run.id);
  return next;
}

/** A link's address with all that is shown now, but another video from its start. */
export function withVideo(query, key) {
  const next = new URLSearchParams(query);
  next.set("video", key);
  for (const name of ["frame", "patch"]) next.delete(name);
  return next;
}

function patchOf(text, runs) {
  const [run, row, column] = text.split(".").map((n) => whole(n) - 1);
  const grid = runs[run]?.grid;
  if (!grid || !(row >= 0 && row < grid[0] && column >= 0 && column < grid[1])) return [];
  return [{ run, row, column }];
}

function whole(text) {
  return /^[1-9]\d{0,5}$/.test(text ?? "") ? Number(text) : 0;
}

/** A number from 0 to most; the usual one for anything else. */
function part(text, most, usual) {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return value >= 0 && value <= most ? value : usual;
}

function round(value, digits) {
  return Number(value.toFixed(digits));
}

// The viewer's page: it finds [data-viewer] elements (templates/evaluations/viewer.html), makes a
// desk of each, and gives it the keys.
//
// The element's `vadlab` property is for tests: {frame, ready, complete, playing, errors, state,
// stats: {paints, worst}, matrix}, times in milliseconds.

import { Desk } from "./viewer-desk.js";

const desks = new Map(); // element -> Desk
const KEYS = {
  " ": "play",
  "[": "error-back",
  "]": "error-forward",
  "<": "slower",
  ">": "faster",
  m: "map",
  t: "truth",
  h: "highest",
  s: "side",
  w: "wipe",
  d: "diff",
  "?": "keys",
};
const VIDEOS = { p: "before", n: "after" };

/** Keys are a viewer's while it is in sight and nobody writes or has a menu open. */
function takesKeys(desk, target) {
  if (target.closest("textarea, [contenteditable], details.menu[open]")) return false;
  if (target.matches("select, input:not([type=range])")) return false;
  if (desk.scope.contains(target)) return true;
  if (target.matches("input")) return false;
  const { top, bottom } = desk.root.getBoundingClientRect();
  return bottom > 0 && top < window.innerHeight;
}

/** What a key does: a name and a place for `act`. */
function meaning({ key, shiftKey }) {
  if (key === "ArrowLeft") return [shiftKey ? "snippet-back" : "back"];
  if (key === "ArrowRight") return [shiftKey ? "snippet-forward" : "forward"];
  if (/^[1-9]$/.test(key)) return ["choose", Number(key) - 1];
  return [KEYS[key.toLowerCase()]];
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.defaultPrevented) return; // the divider's own
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const desk = [...desks.values()].find((each) => takesKeys(each, target));
  if (!desk) return;
  const video = VIDEOS[key.toLowerCase()];
  if (video) {
    document.querySelector(`a[data-viewer-video-step="${video}"]`)?.click();
    return;
  }
  const [name, at] = meaning(event);
  if (!name) return;
  if (key === " " && target.matches("button, summary, a")) return; // its own key
  if (key.startsWith("Arrow") && target.matches("input:not([data-viewer-position])")) return;
  event.preventDefault();
  desk.controls.act(name, at);
});

function attachAll() {
  for (const [root, desk] of desks) {
    if (root.isConnected) continue;
    desks.delete(root);
    desk.leave();
  }
  for (const root of document.querySelectorAll("[data-viewer]")) {
    if (desks.has(root)) continue;
    const desk = new Desk(root);
    desks.set(root, desk);
    const { loading } = desk;
    root.vadlab = {
      get frame() {
        return desk.clock.frame;
      },
      get ready() {
        return loading.all.every((maps) => maps.has(desk.clock.frame));
      },
      get complete() {
        return loading.all.every((maps) => maps.isComplete);
      },
      get playing() {
        return desk.clock.isPlaying;
      },
      get errors() {
        return desk.errors.all;
      },
      get state() {
        return desk.state;
      },
      stats: desk.stats,
      matrix: desk.matrix,
    };
  }
}

/** The list of videos opens at the one that is shown, ready to be searched. */
function opened({ target }) {
  if (!target.open) return;
  const list = target.querySelector(".table-wrap");
  const row = target.querySelector('tr[aria-selected="true"]');
  if (row) list.scrollTop = row.offsetTop - list.clientHeight / 2;
  target.querySelector("input[type=search]").focus();
}

function begin() {
  document.querySelector("#viewer-pick")?.addEventListener("toggle", opened);
  document.addEventListener("htmx:afterSettle", attachAll);
  attachAll();
}

// The script is async, so that the first map does not wait for the chart library.
if (document.readyState === "loading") document.addEventListener("readystatechange", begin, { once: true });
else begin();

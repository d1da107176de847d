// Pictures of videos. The server answers with a tiny drawing instead of one that it cannot make, or
// not yet; its text says why. The first is told in the picture's tooltip, the second asked for again:
// few at a time, since the server makes them one by one.

const DRAWING = 2; // its width in pixels, in templates/datasets/placeholder.svg; no picture has that
const AT_A_TIME = 3; // as many as the server lets wait (webapp/datasets/decoder.py)
const PAUSE_MS = 500;
const MOST_TURNS = 30;

const queue = [];
let underway = 0;

function settle(image) {
  image.closest(".thumbnail")?.classList.add("is-there");
}

function say(image, text) {
  const box = image.closest(".thumbnail");
  if (!box) return;
  box.classList.add("is-missing");
  box.title = text;
  image.alt = `No picture: ${text}`;
  settle(image);
}

function show(image, picture) {
  const url = URL.createObjectURL(picture);
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
}

/** What the drawing means: shows the picture or the reason; false while its turn is to come. */
async function ask(image, isLast) {
  const answer = await fetch(image.dataset.src, { credentials: "same-origin" });
  if (!answer.ok) return true;
  if (!(answer.headers.get("Content-Type") || "").startsWith("image/svg")) {
    show(image, await answer.blob());
    return true;
  }
  const text = await answer.text();
  const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (drawn.dataset.state === "waiting" && !isLast) return false;
  say(image, drawn.querySelector("title")?.textContent || "");
  return true;
}

/** One of the few that ask: the first picture of the page that waits comes first. */
async function work() {
  if (underway >= AT_A_TIME) return;
  underway += 1;
  while (queue.length) {
    const job = queue.shift();
    try {
      if (!job.image.isConnected || (await ask(job.image, job.turn >= MOST_TURNS))) continue;
    } catch {
      continue; // the page is being left, or the server is away
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
    queue.unshift({ image: job.image, turn: job.turn + 1 });
  }
  underway -= 1;
}

function enqueue(image) {
  queue.push({ image, turn: 0 });
  work();
}

function look(image) {
  if (!image.complete || !image.naturalWidth) return;
  if (image.naturalWidth !== DRAWING) {
    settle(image);
  } else if (!image.dataset.src) {
    image.dataset.src = image.getAttribute("src");
    enqueue(image);
  }
}

document.addEventListener(
  "load",
  (event) => event.target.matches?.("img[data-thumbnail]") && look(event.target),
  true,
);
for (const image of document.querySelectorAll("img[data-thumbnail]")) look(image);

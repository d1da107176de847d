// Pictures of videos. The server answers with a tiny drawing instead of one that it cannot make, or
// not yet; its text says why. The first is told in the picture's tooltip, the second asked for again.

const DRAWING = 2; // its width in pixels, in templates/datasets/placeholder.svg; no picture has that
const PAUSES_MS = [700, 1000, 1500, 2000, 3000, 4000];

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

/** Ask what the drawing means, until there is a picture or a reason. */
async function explain(image, turn = 0) {
  let answer;
  try {
    answer = await fetch(image.dataset.src, { credentials: "same-origin" });
  } catch {
    return; // the page is being left, or the server is away
  }
  if (!answer.ok) return;
  const type = answer.headers.get("Content-Type") || "";
  if (!type.startsWith("image/svg")) {
    const url = URL.createObjectURL(await answer.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
    return;
  }
  const drawn = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
  const text = drawn.querySelector("title")?.textContent || "";
  if (drawn.dataset.state !== "waiting" || turn >= PAUSES_MS.length) {
    say(image, text);
    return;
  }
  setTimeout(() => image.isConnected && explain(image, turn + 1), PAUSES_MS[turn]);
}

function look(image) {
  if (!image.complete || !image.naturalWidth) return;
  if (image.naturalWidth !== DRAWING) {
    settle(image);
  } else if (!image.dataset.src) {
    image.dataset.src = image.getAttribute("src");
    explain(image);
  }
}

document.addEventListener(
  "load",
  (event) => event.target.matches?.("img[data-thumbnail]") && look(event.target),
  true,
);
for (const image of document.querySelectorAll("img[data-thumbnail]")) look(image);

// A log that follows its tail, and the hits of a search in it.
//   <div data-log> <input data-log-search> <button data-log-follow> <pre class="log" data-log-text>
//   or, of a search, <div data-log-hits data-total> with elements [data-hit], and links [data-log-step]
// The text grows by htmx: the poll returns only the new lines and appends them
// (hx-swap="beforeend"), so nothing that a person reads moves. Following stops when scrolled up.
// The search itself is the server's, over the whole file; here one only goes from hit to hit.

const NEAR = 24; // px from the end that still count as "at the end"
const MOST = 20_000; // lines kept in the page; the download has all of them

// ---- following the end ------------------------------------------------------------------------

function follows(text) {
  return text.dataset.following !== "false";
}

function setFollowing(text, on) {
  text.dataset.following = String(on);
  button(text)?.setAttribute("aria-pressed", String(on));
}

function button(text) {
  return text.closest("[data-log]").querySelector("[data-log-follow]");
}

function attachTail(text) {
  if (text.dataset.ready) return;
  text.dataset.ready = "true";
  const toEnd = () => {
    text.scrollTop = text.scrollHeight;
  };
  setFollowing(text, true);
  toEnd();
  text.addEventListener("scroll", () => {
    setFollowing(text, text.scrollHeight - text.scrollTop - text.clientHeight < NEAR);
  });
  button(text)?.addEventListener("click", () => {
    setFollowing(text, !follows(text));
    if (follows(text)) toEnd();
  });
  new MutationObserver(() => {
    while (text.childElementCount > MOST) text.firstElementChild.remove();
    if (follows(text)) toEnd();
  }).observe(text, { childList: true });
}

// ---- from hit to hit --------------------------------------------------------------------------

/** Scroll within the list, never the page: the search box stays where it is. */
function show(list, line) {
  list.scrollTop = line.offsetTop - list.offsetTop - list.clientHeight / 2;
}

/** Go one hit on or back; to those of another page the link leads. */
function step(root, direction) {
  const list = root.querySelector("[data-log-hits]");
  const current = list?.querySelector("[data-hit].is-current");
  if (!current) return;
  const total = Number(list.dataset.total);
  const next = ((Number(current.dataset.hit) - 1 + direction + total) % total) + 1;
  const line = list.querySelector(`[data-hit="${next}"]`);
  const url = new URL(location.href);
  url.searchParams.set("hit", String(next));
  url.hash = "";
  if (!line) {
    location.assign(url);
    return;
  }
  current.classList.remove("is-current");
  line.classList.add("is-current");
  show(list, line);
  root.querySelector("[data-log-hit]").textContent = `Hit ${next.toLocaleString("en-US")}`;
  history.replaceState(history.state, "", url);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-log-step]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  step(link.closest("[data-log]"), Number(link.dataset.logStep));
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches?.("[data-log-search]")) return;
  const root = event.target.closest("[data-log]");
  const list = root.querySelector("[data-log-hits]");
  const asked = new URL(location.href).searchParams.get("find") || "";
  if (!list || asked !== event.target.value.trim()) return; // the search is under way
  event.preventDefault();
  step(root, event.shiftKey ? -1 : 1);
});

function attachAll() {
  for (const text of document.querySelectorAll("[data-log-text]")) attachTail(text);
  for (const list of document.querySelectorAll("[data-log-hits], [data-log-place]")) {
    if (list.dataset.ready) continue;
    list.dataset.ready = "true";
    const current = list.querySelector(".is-current");
    if (current) show(list, current);
  }
}
document.addEventListener("htmx:afterSettle", attachAll);
attachAll();

// A log that follows its tail, and a search in it.
//   <div data-log> <input data-log-search> <span data-log-hits> <button data-log-follow> <pre class="log" data-log-text>
// The text grows by htmx: the poll returns only the new lines and appends them
// (hx-swap="beforeend"), so nothing that a person reads moves. Following stops when scrolled up.

const NEAR = 24; // px from the end that still count as "at the end"
const MOST = 20_000; // lines kept in the page; the download has all of them

function parts(root) {
  return {
    text: root.querySelector("[data-log-text]"),
    search: root.querySelector("[data-log-search]"),
    hits: root.querySelector("[data-log-hits]"),
    follow: root.querySelector("[data-log-follow]"),
  };
}

function follows(root) {
  return root.dataset.following !== "false";
}

function setFollowing(root, on) {
  root.dataset.following = String(on);
  parts(root).follow?.setAttribute("aria-pressed", String(on));
}

function toEnd(root) {
  const { text } = parts(root);
  text.scrollTop = text.scrollHeight;
}

function mark(root) {
  const { text, search, hits } = parts(root);
  for (const old of text.querySelectorAll("mark")) old.replaceWith(old.textContent);
  text.normalize();
  const needle = (search?.value || "").toLowerCase();
  if (hits) hits.textContent = "";
  if (needle.length < 2) return;
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  let count = 0;
  for (const node of nodes) {
    let rest = node;
    let at = rest.data.toLowerCase().indexOf(needle);
    while (at >= 0 && count < 1000) {
      const found = rest.splitText(at);
      rest = found.splitText(needle.length);
      const element = document.createElement("mark");
      found.replaceWith(element);
      element.append(found);
      count += 1;
      at = rest.data.toLowerCase().indexOf(needle);
    }
  }
  if (hits) hits.textContent = count === 0 ? "not found" : count >= 1000 ? "1000+" : `${count} found`;
}

function step(root, direction) {
  const marks = [...root.querySelectorAll("mark")];
  if (!marks.length) return;
  const current = marks.findIndex((m) => m.classList.contains("is-current"));
  marks[current]?.classList.remove("is-current");
  const start = current < 0 && direction < 0 ? 0 : current;
  const next = marks[(start + direction + marks.length) % marks.length];
  next.classList.add("is-current");
  setFollowing(root, false);
  next.scrollIntoView({ block: "center" });
}

function attach(root) {
  if (root.dataset.ready) return;
  root.dataset.ready = "true";
  const { text, search, follow } = parts(root);
  setFollowing(root, true);
  toEnd(root);
  text.addEventListener("scroll", () => {
    setFollowing(root, text.scrollHeight - text.scrollTop - text.clientHeight < NEAR);
  });
  follow?.addEventListener("click", () => {
    setFollowing(root, !follows(root));
    if (follows(root)) toEnd(root);
  });
  let wait;
  search?.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => mark(root), 150);
  });
  search?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    step(root, event.shiftKey ? -1 : 1);
  });
  new MutationObserver(() => {
    while (text.childElementCount > MOST) text.firstElementChild.remove();
    if (follows(root)) toEnd(root);
  }).observe(text, { childList: true, subtree: true });
}

function attachAll() {
  for (const root of document.querySelectorAll("[data-log]")) attach(root);
}
document.addEventListener("htmx:afterSettle", attachAll);
attachAll();

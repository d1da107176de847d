// What keeps a page alive: polling that stops while the tab is hidden, the loading bar, relative
// times, failed requests as a notice, menus and dialogs. No state of its own.

const bar = document.getElementById("loading-bar");
let underway = 0;

function isPoll(element) {
  return /\bevery\b/.test(element.getAttribute("hx-trigger") || "");
}

function busy(change) {
  underway = Math.max(0, underway + change);
  bar?.classList.toggle("is-active", underway > 0);
}

// ---- htmx -----------------------------------------------------------------------------------
// A poll is not sent while the tab is hidden, nor while a person has a menu open or text selected
// inside of what it would replace.
document.addEventListener("htmx:beforeRequest", (event) => {
  const element = event.detail.elt;
  if (!isPoll(element) || event.detail.requestConfig.triggeringEvent) {
    busy(1);
    return;
  }
  if (document.hidden || isInUse(element)) event.preventDefault();
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (!isPoll(event.detail.elt) || event.detail.requestConfig.triggeringEvent) busy(-1);
});

function isInUse(element) {
  const active = document.activeElement;
  if (element.querySelector("details.menu[open], dialog[open]")) return true;
  if (active && element.contains(active) && active.matches("input, textarea, select")) return true;
  const selection = document.getSelection();
  return Boolean(selection && !selection.isCollapsed && element.contains(selection.anchorNode));
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  // At once, not after the rest of the period.
  for (const element of document.querySelectorAll('[hx-trigger*="every"][hx-get]')) {
    window.htmx?.ajax("GET", element.getAttribute("hx-get"), {
      source: element,
      target: element,
      swap: element.getAttribute("hx-swap") || "innerHTML",
    });
  }
});

document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  if (status === 401 || status === 403) {
    notify("error", "This was not allowed.", "Sign in again, or ask an admin of the project.");
  } else if (status === 404) {
    notify("error", "This is no longer there.", "Reload the page to see what changed.");
  } else {
    const text = `The server answered with ${status}.`;
    notify("error", text, "Nothing was lost; try again.");
  }
});

document.addEventListener("htmx:sendError", () => {
  notify("warning", "The server does not answer.", "This page goes on by itself when it is back.");
});

/** A notice at the lower right. The same text is not shown twice. */
function notify(tone, text, hint = "") {
  const toasts = document.getElementById("toasts");
  if (!toasts || [...toasts.children].some((n) => n.dataset.text === text)) return;
  const notice = document.createElement("div");
  notice.className = "notice";
  notice.dataset.tone = tone;
  notice.dataset.text = text;
  const body = document.createElement("div");
  for (const line of [text, hint].filter(Boolean)) {
    const p = document.createElement("p");
    p.textContent = line;
    body.append(p);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "notice-close";
  close.setAttribute("aria-label", "Close");
  close.textContent = "\u00d7";
  close.addEventListener("click", () => notice.remove());
  notice.append(body, close);
  toasts.append(notice);
  setTimeout(() => notice.remove(), 10_000);
}

document.addEventListener("vadlab:notify", (event) => {
  notify(event.detail.tone || "info", event.detail.text, event.detail.hint);
});

// ---- relative times -------------------------------------------------------------------------
/** The same steps as `ago_text` in webapp/core/templatetags/vadlab.py. */
function agoText(seconds) {
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  const steps = [
    [60, "s", 1],
    [3600, "min", 60],
    [86400, "h", 3600],
    [86400 * 60, "d", 86400],
    [86400 * 730, "months", 86400 * 30.44],
    [Infinity, "years", 86400 * 365.25],
  ];
  const [, unit, length] = steps.find(([limit]) => size < limit);
  const early = seconds > 0 ? 0 : 0.1; // what was set to end in 14 days does not say 13
  const text = `${Math.floor(size / length + early)} ${unit}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

function refreshTimes() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = agoText((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}
setInterval(refreshTimes, 15_000);

// ---- menus and dialogs ----------------------------------------------------------------------
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const within = menu.contains(event.target);
    const item = event.target.closest(".menu-item");
    if (!within || (item && item.matches("a, button"))) menu.open = false;
  }
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
  const closer = event.target.closest("[data-dialog-close]");
  if (closer) closer.closest("dialog")?.close();
  if (event.target.matches("dialog")) event.target.close(); // a click on the backdrop
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.menu[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

// A form marked data-submit-on-change sends itself (filters); without scripts it has a button.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit-on-change]");
  if (form && !event.target.hasAttribute("data-no-submit")) form.requestSubmit();
});

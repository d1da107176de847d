// The controls over a run's charts: <form data-curve-controls> with smooth, x, y and q, and the charts
// in [data-curves], each in a cell with data-curve-words. Without this file the form is a plain GET.

const WAIT_MS = 90; // between two positions of the slider, so that charts follow it
const USUAL = { smooth: "0", x: "step", y: "" };

/** What the form says, without what is usual. */
function chosen(form) {
  const found = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (!(name in USUAL)) continue;
    if (name === "smooth" ? Number(value) > 0 : value !== USUAL[name]) found.set(name, value);
  }
  return found;
}

/** The page's address as the form says it, so that it can be sent to somebody. */
function keepAddress(form) {
  const url = new URL(location.href);
  for (const name of [...Object.keys(USUAL), "q"]) url.searchParams.delete(name);
  for (const [name, value] of chosen(form)) url.searchParams.set(name, value);
  const words = form.elements.q?.value.trim();
  if (words) url.searchParams.set("q", words);
  history.replaceState(history.state, "", url);
}

function redraw(form) {
  const query = chosen(form).toString();
  const over = form.elements.x?.value;
  for (const chart of document.querySelectorAll("[data-curves] .chart")) {
    const [base] = chart.dataset.figureSrc.split("?");
    const source = query ? `${base}?${query}` : base;
    if (source === chart.dataset.figureSrc) continue;
    const before = new URLSearchParams(chart.dataset.figureSrc.split("?")[1]);
    chart.dataset.figureSrc = source;
    chart.dataset.figureZoomSrc = source;
    if (over) chart.dataset.figureGroup = over;
    chart.vadlab?.reload((before.get("x") || "step") === (over || "step"));
  }
}

function search(form) {
  if (!form.elements.q) return;
  const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  const cells = [...document.querySelectorAll("[data-curve-words]")];
  for (const cell of cells) {
    cell.hidden = !words.every((word) => cell.dataset.curveWords.includes(word));
  }
  const shown = cells.filter((cell) => !cell.hidden).length;
  const place = form.querySelector("[data-curve-count]");
  if (place) place.textContent = words.length ? `${shown} of ${cells.length} charts` : "";
}

for (const form of document.querySelectorAll("[data-curve-controls]")) {
  let wait;
  const slider = form.elements.smooth;
  form.addEventListener("input", (event) => {
    form.querySelector("output").textContent = Number(slider.value).toFixed(2);
    if (event.target.name === "q") search(form);
    clearTimeout(wait);
    wait = setTimeout(() => {
      keepAddress(form);
      redraw(form);
    }, WAIT_MS);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  search(form);
}

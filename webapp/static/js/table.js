// Rows that can be selected: <table data-select="bar-id"> with checkboxes [data-select-row] (value =
// id), one [data-select-all] in the header, and a bar #bar-id that is shown while rows are selected.
// In the bar: [data-select-count] shows the number; [data-select-min="2"] is disabled below it;
// a link with data-select-href="/compare/?runs={ids}" goes there with the ids, comma separated;
// a form gets one hidden input a row, named as its data-select-name says ("ids").
// A box with data-select-ids="id,id" stands for those rows, whether they are on the page or not.
// The selection survives htmx swaps of the rows (it is kept by id, per table id).

const chosen = new Map(); // table id -> Set of row ids

function idsOf(table) {
  if (!chosen.has(table.id)) chosen.set(table.id, new Set());
  return chosen.get(table.id);
}

function refresh(table) {
  const ids = idsOf(table);
  const boxes = [...table.querySelectorAll("[data-select-row]")];
  for (const box of boxes) {
    box.checked = ids.has(box.value);
    box.closest("tr").setAttribute("aria-selected", String(box.checked));
  }
  for (const box of table.querySelectorAll("[data-select-ids]")) {
    const own = box.dataset.selectIds.split(",");
    const marked = own.filter((id) => ids.has(id)).length;
    box.checked = marked === own.length;
    box.indeterminate = marked > 0 && marked < own.length;
  }
  const all = table.querySelector("[data-select-all]");
  if (all) {
    const every = everyId(table, boxes);
    const marked = every.filter((id) => ids.has(id)).length;
    all.checked = every.length > 0 && marked === every.length;
    all.indeterminate = marked > 0 && marked < every.length;
  }
  const bar = document.getElementById(table.dataset.select);
  if (bar) refreshBar(bar, [...ids]);
}

function refreshBar(bar, ids) {
  bar.hidden = ids.length === 0;
  for (const span of bar.querySelectorAll("[data-select-count]")) span.textContent = ids.length;
  for (const element of bar.querySelectorAll("[data-select-min]")) {
    const few = ids.length < Number(element.dataset.selectMin);
    element.setAttribute("aria-disabled", String(few));
    if ("disabled" in element) element.disabled = few;
  }
  for (const link of bar.querySelectorAll("[data-select-href]")) {
    link.href = link.dataset.selectHref.replace("{ids}", ids.map(encodeURIComponent).join(","));
  }
  const forms = [...bar.querySelectorAll("form[data-select-name]")];
  if (bar.matches("form[data-select-name]")) forms.push(bar);
  for (const form of forms) {
    for (const old of form.querySelectorAll("input[data-selected]")) old.remove();
    for (const id of ids) {
      // A box of the row that belongs to the form sends the id by itself.
      if (form.id && document.querySelector(`[data-select-row][form="${form.id}"][value="${id}"]`)) continue;
      const input = document.createElement("input");
      Object.assign(input, { type: "hidden", name: form.dataset.selectName, value: id });
      input.dataset.selected = "";
      form.append(input);
    }
  }
}

function everyId(table, boxes) {
  const groups = [...table.querySelectorAll("[data-select-ids]")];
  return [...boxes.map((box) => box.value), ...groups.flatMap((g) => g.dataset.selectIds.split(","))];
}

let last = null; // for Shift: the row that was changed before

// Firefox would select the text between the two boxes as well, which would hold the polls.
document.addEventListener("mousedown", (event) => {
  const box = event.target.closest("[data-select-row]");
  if (!box || !event.shiftKey) return;
  event.preventDefault();
  box.focus();
});

document.addEventListener("click", (event) => {
  const box = event.target.closest("[data-select-row], [data-select-all], [data-select-ids]");
  const clear = event.target.closest("[data-select-clear]");
  if (clear) {
    const bar = clear.closest("[id]");
    for (const table of document.querySelectorAll(`table[data-select="${bar.id}"]`)) {
      idsOf(table).clear();
      refresh(table);
    }
    return;
  }
  if (!box) return;
  const table = box.closest("table[data-select]");
  if (!table) return;
  const ids = idsOf(table);
  const boxes = [...table.querySelectorAll("[data-select-row]")];
  let affected = [box.value];
  if (box.hasAttribute("data-select-all")) affected = everyId(table, boxes);
  else if (box.hasAttribute("data-select-ids")) affected = box.dataset.selectIds.split(",");
  else if (event.shiftKey && boxes.includes(last)) {
    const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    affected = boxes.slice(from, to + 1).map((each) => each.value);
  }
  for (const id of affected) {
    if (box.checked) ids.add(id);
    else ids.delete(id);
  }
  last = box.hasAttribute("data-select-row") ? box : null;
  refresh(table);
});

function refreshAll() {
  for (const table of document.querySelectorAll("table[data-select]")) {
    // Boxes that the browser restored (back button) count as selected.
    for (const box of table.querySelectorAll("[data-select-row]:checked")) idsOf(table).add(box.value);
    refresh(table);
  }
}

document.addEventListener("htmx:afterSettle", refreshAll);
window.addEventListener("pageshow", refreshAll);
refreshAll();

// The filter of the runs table: a combobox over [data-filter-complete] (address that proposes what
// may stand at the cursor), and the search in the form that chooses columns ([data-columns-find]).
// Down and Up choose, Enter or Tab take the chosen one, Escape closes the list; Enter without a
// chosen one sends the form.

const WAIT_MS = 60;

class Combobox {
  constructor(box) {
    this.address = box.dataset.filterComplete;
    this.input = box.querySelector('[role="combobox"]');
    this.list = box.querySelector('[role="listbox"]');
    this.chosen = -1;
    this.range = [0, 0];
    this.waits = false; // the list is of an older text than the field's
    this.step = 0; // an arrow that was pressed meanwhile
    this.takes = false; // and Enter after it
    this.input.addEventListener("input", () => this.later());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("click", () => this.later());
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the input keeps the focus
      const option = event.target.closest('[role="option"]');
      if (option) this.take([...this.list.children].indexOf(option));
    });
  }

  later() {
    clearTimeout(this.timer);
    this.waits = true;
    this.timer = setTimeout(() => this.ask(), WAIT_MS);
  }

  async ask() {
    this.asking?.abort();
    this.asking = new AbortController();
    this.waits = true;
    const query = new URLSearchParams({ q: this.input.value, at: this.input.selectionStart });
    try {
      const answer = await fetch(`${this.address}?${query}`, {
        signal: this.asking.signal,
        headers: { Accept: "application/json" },
      });
      if (answer.ok && document.activeElement === this.input) this.show(await answer.json());
      else this.close();
    } catch (error) {
      if (error.name !== "AbortError") this.close();
    }
  }

  show({ start, end, proposals }) {
    this.range = [start, end];
    this.chosen = -1;
    this.list.replaceChildren(...proposals.map((proposal, place) => option(proposal, place)));
    const open = proposals.length > 0;
    this.list.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    this.input.removeAttribute("aria-activedescendant");
    const { step, takes } = this;
    this.waits = this.takes = false;
    this.step = 0;
    if (open && step) this.choose(step > 0 ? 0 : -1);
    if (open && takes) this.take(this.chosen);
  }

  close() {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.waits = this.takes = false;
    this.step = 0;
    this.list.hidden = true;
    this.chosen = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    if (event.isComposing) return;
    const open = !this.list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (this.waits) this.step = step;
      else if (!open) this.ask();
      else this.choose(this.chosen + step);
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      this.close();
    } else if (event.key === "Enter" && this.waits && this.step) {
      event.preventDefault();
      this.takes = true;
    } else if ((event.key === "Enter" || event.key === "Tab") && open && this.chosen >= 0) {
      event.preventDefault();
      this.take(this.chosen);
    }
  }

  choose(place) {
    const options = [...this.list.children];
    this.chosen = (place + options.length) % options.length;
    options.forEach((each, i) => each.setAttribute("aria-selected", String(i === this.chosen)));
    options[this.chosen].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[this.chosen].id);
  }

  take(place) {
    const option = this.list.children[place];
    const { text, kind } = option.dataset;
    const after = this.input.value.slice(this.range[1]);
    const space = after.startsWith(" ") || (kind === "operator" && text === ":") ? "" : " ";
    this.input.setRangeText(text + space, this.range[0], this.range[1], "end");
    if (after.startsWith(" ")) this.input.selectionStart = this.input.selectionEnd += 1;
    this.input.focus();
    this.ask();
  }
}

function option({ text, help, kind }, place) {
  const item = document.createElement("li");
  item.id = `q-option-${place}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", "false");
  Object.assign(item.dataset, { text, kind });
  const code = document.createElement("code");
  code.textContent = text;
  item.append(code);
  if (help) {
    const note = document.createElement("span");
    note.textContent = help;
    item.append(note);
  }
  return item;
}

function start() {
  for (const box of document.querySelectorAll("[data-filter-complete]")) {
    if (box.vadlab) continue;
    box.vadlab = new Combobox(box);
  }
}

// What is empty does not belong into the address.
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("#filter-form")) return;
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-columns-find]")) return;
  const wanted = event.target.value.trim().toLowerCase();
  for (const group of event.target.form.querySelectorAll("fieldset")) {
    for (const label of group.querySelectorAll("label")) {
      const text = `${label.textContent} ${label.querySelector("input").value}`.toLowerCase();
      label.hidden = !text.includes(wanted);
    }
    group.hidden = !group.querySelector("label:not([hidden])");
  }
});

// Enter in that search must not send the form that it stands in.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("[data-columns-find]")) event.preventDefault();
});

document.addEventListener("htmx:afterSettle", start);
start();

// A clone that is being edited: each field that differs from the run it comes from says what it was.
// The values of that run are in the json_script "clone-base", by the name of the field.

const base = JSON.parse(document.getElementById("clone-base").textContent);
const form = document.querySelector(".form-run");
const summary = form.querySelector("[data-clone-summary]");

/** What a field means: an empty one its default. */
function meant(input) {
  return input.value.trim() || input.getAttribute("placeholder") || "";
}

/** 3e-4 is 0.0003, and 16, 16 is 16 16. */
function plain(text) {
  return text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((word) => (Number.isNaN(Number(word)) ? word : String(Number(word))))
    .join(" ");
}

function words(input, value) {
  if (input.tagName !== "SELECT") return value || "empty";
  const option = [...input.options].find((o) => o.value === value);
  return option ? option.textContent.replace(/ \(default\)$/, "") : value || "nothing";
}

function mark(input, was) {
  const field = input.closest(".field");
  const differs = plain(meant(input)) !== plain(was);
  field.toggleAttribute("data-differs", differs);
  let note = field.querySelector(".field-was");
  if (!note && differs) {
    note = document.createElement("p");
    note.className = "field-was";
    input.after(note);
  }
  if (note) {
    note.hidden = !differs;
    note.textContent = `was ${words(input, was)}`;
  }
  return differs;
}

function compare() {
  const changed = Object.entries(base)
    .map(([name, was]) => [form.elements[name], was])
    .filter(([input]) => input?.closest?.(".field"))
    .filter(([input, was]) => mark(input, was));
  const names = changed.map(([input]) => input.name);
  summary.textContent = names.length
    ? `${names.length === 1 ? "1 field differs" : `${names.length} fields differ`} from the run that is cloned: ${names.join(", ")}.`
    : "Nothing differs from the run that is cloned yet.";
}

form.addEventListener("input", compare);
compare();

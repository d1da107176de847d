// <button class="copy" data-copy="the whole id">1f3a…9c2e</button>, or data-copy-from="#element".

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
  const text = source ? source.textContent : button.dataset.copy;
  if (!(await put(text))) return;
  button.classList.add("is-copied");
  document.dispatchEvent(
    new CustomEvent("vadlab:notify", { detail: { tone: "success", text: "Copied." } }),
  );
  setTimeout(() => button.classList.remove("is-copied"), 1200);
});

async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain http on another host has no clipboard object: select a field and copy.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

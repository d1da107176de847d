// <button class="copy" data-copy="the whole id">1f3a…9c2e</button>, data-copy-from="#element", or
// data-copy-src="address" for a text that the server makes.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from], [data-copy-src]");
  if (!button) return;
  const { copy, copyFrom, copySrc } = button.dataset;
  const text = copySrc
    ? await fetched(copySrc)
    : copyFrom
      ? document.querySelector(copyFrom).textContent
      : copy;
  if (text === null) return;
  if (!(await put(text))) {
    say("error", "Not copied: the browser did not allow it.", "Click once more.");
    return;
  }
  button.classList.add("is-copied");
  say("success", "Copied.");
  setTimeout(() => button.classList.remove("is-copied"), 1200);
});

async function fetched(address) {
  try {
    const answer = await fetch(address, { credentials: "same-origin" });
    if (answer.ok) return await answer.text();
  } catch {
    // the same words as for an answer that is none
  }
  say("error", "Not copied: the server does not answer.", "Try again.");
  return null;
}

function say(tone, text, hint) {
  document.dispatchEvent(new CustomEvent("vadlab:notify", { detail: { tone, text, hint } }));
}

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

// Loaded in <head> without defer: the chosen theme is set before the first paint.
// Choice: "light", "dark" or none (the system's). Other scripts listen to "vadlab:theme".
(function () {
  "use strict";
  const KEY = "vadlab.theme";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      const value = localStorage.getItem(KEY);
      return value === "light" || value === "dark" ? value : "";
    } catch {
      return "";
    }
  }

  function apply(choice) {
    if (choice) root.dataset.theme = choice;
    else delete root.dataset.theme;
    root.dataset.bsTheme = choice || (system.matches ? "dark" : "light");
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
    }
  }

  function changed() {
    apply(chosen());
    document.dispatchEvent(new CustomEvent("vadlab:theme"));
  }

  apply(chosen());
  system.addEventListener("change", changed);
  window.addEventListener("storage", (event) => event.key === KEY && changed());
  document.addEventListener("DOMContentLoaded", () => apply(chosen()));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    try {
      if (button.dataset.themeChoice) localStorage.setItem(KEY, button.dataset.themeChoice);
      else localStorage.removeItem(KEY);
    } catch {
      // Private windows may refuse storage; the theme then holds for this page.
      root.dataset.theme = button.dataset.themeChoice;
    }
    changed();
  });
})();

// Copy buttons, and j and k between samples.
(() => {
  addEventListener("DOMContentLoaded", () => {
    if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach((each) => { each.hidden = false; });
  });
  addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.lastChild.textContent = "Copied";
    setTimeout(() => { button.lastChild.textContent = "Copy"; }, 2000);
  });

  const ways = { j: "next", k: "prev" };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
    const rel = Object.hasOwn(ways, event.key) && ways[event.key];
    if (rel) document.querySelector(`.doc a[rel="${rel}"]`)?.click();
  });
})();

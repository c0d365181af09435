// Copy buttons, j and k between samples, and the line in the header that says whether what is shown is live.
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

  const line = () => document.getElementById("live");
  const say = (words, icon, stale) => {
    const live = line(), status = live?.querySelector("[role=status]");
    if (!live) return;
    live.classList.toggle("stale", stale);
    live.querySelector("use").setAttribute("href", icon);
    if (status.textContent !== words) status.textContent = words; // spoken only when it changes
  };
  const heard = () => {
    const now = new Date(), time = line()?.querySelector("time");
    say("Live", "#i-live", false);
    if (!time) return;
    time.dateTime = now.toISOString();
    time.title = now.toISOString().slice(0, 19).replace("T", " ") + " UTC";
    time.textContent = now.toISOString().slice(11, 19);
  };
  let over = false;
  addEventListener("htmx:sse:after:connection", heard);
  addEventListener("htmx:sse:after:message", heard);
  addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) location.reload(); // the sign-in has ended
    else if (!over) say("Reconnecting, as of", "#i-warning", true);
  });
  addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) say("Reconnecting, as of", "#i-warning", true);
  });
  addEventListener("htmx:sse:close", (event) => {
    over = event.detail.reason === "message";
    say(over ? "Ended" : "Closed, as of", over ? "#i-empty" : "#i-warning", !over);
  });
})();

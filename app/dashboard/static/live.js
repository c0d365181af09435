// The page's one stream: open while the page is looked at, tried again after a refusal, kept by few windows at a time,
// and told in the header.
(() => {
  const main = document.querySelector("[hx-sse\\:connect]");
  const TURN_SECONDS = 5, MOST_WAIT_SECONDS = 30, ASK_MILLISECONDS = 400;
  // A browser has six connections to a host over HTTP/1.1: two stay free for links and forms.
  const MOST = /^h[23]/.test(performance.getEntriesByType("navigation")[0]?.nextHopProtocol) ? Infinity : 4;
  let open = false, over = false, turns = false, refused = 0, others = 0;

  const line = document.getElementById("live"), status = line.querySelector("[role=status]"), time = line.querySelector("time");
  const say = (words, icon, stale) => {
    line.classList.toggle("stale", stale);
    line.querySelector("use").setAttribute("href", icon);
    if (status.textContent !== words) status.textContent = words; // spoken only when it changes
  };
  const lost = () => say("Reconnecting, as of", "#i-warning", true);
  const heard = () => {
    const now = new Date();
    refused = 0;
    say(turns ? `Every ${TURN_SECONDS} s, as of` : "Live", "#i-live", false);
    time.dateTime = now.toISOString();
    time.title = now.toISOString().slice(0, 19).replace("T", " ") + " UTC";
    time.textContent = now.toISOString().slice(11, 19);
  };

  // Windows count each other. Where more are open than may be, this one hears what is new and makes room for a while.
  const channel = new BroadcastChannel("evalq-streams");
  channel.onmessage = ({ data }) => {
    if (data === "here") others += 1;
    else if (open && !document.hidden) channel.postMessage("here");
  };
  const count = (connection) => {
    others = 0;
    channel.postMessage("who");
    setTimeout(() => {
      turns = others >= MOST;
      connection.config.reconnectDelay = turns ? 1000 * TURN_SECONDS : 500;
      if (!open) return;
      heard();
      if (turns) connection.reader?.cancel();
    }, ASK_MILLISECONDS);
  };

  // The extension tries again what was open once; the first time is ours.
  const connect = () => htmx.ajax("GET", main.getAttribute("hx-sse:connect"), { source: main });
  const again = () => {
    const seconds = Math.min(2 ** refused++, MOST_WAIT_SECONDS) * (0.7 + 0.6 * Math.random());
    lost();
    setTimeout(connect, 1000 * seconds);
  };
  const shown = () => {
    if (document.hidden) return;
    document.removeEventListener("visibilitychange", shown);
    connect();
  };
  addEventListener("htmx:before:request", (event) => {
    if (event.target !== main || !document.hidden) return;
    event.preventDefault(); // a tab that was opened behind others takes no connection
    document.addEventListener("visibilitychange", shown);
  });
  addEventListener("htmx:error", (event) => {
    if (event.target === main && !open && !over) again();
  });
  addEventListener("htmx:response:error", (event) => {
    if (event.target !== main) return;
    const code = event.detail.ctx.response.status;
    if (code === 429 || code >= 500) again();
    else say("Not live, as of", "#i-warning", true);
  });

  addEventListener("htmx:sse:after:connection", (event) => {
    open = true;
    heard();
    count(event.detail.connection);
  });
  addEventListener("htmx:sse:after:message", heard);
  addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) location.reload(); // the sign-in has ended
    else if (!over) lost();
  });
  addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt === 0) return;
    open = false;
    if (!turns) lost();
  });
  addEventListener("htmx:sse:close", (event) => {
    open = false;
    over = event.detail.reason === "message";
    say(over ? "Ended" : "Closed, as of", over ? "#i-empty" : "#i-warning", !over);
  });

  // A log that is not followed stands still: what came meanwhile is asked for.
  document.getElementById("follow")?.addEventListener("change", ({ target }) => {
    if (target.checked) htmx.ajax("GET", location.href, { target: "#log-lines", select: "#log-lines", swap: "outerMorph" });
  });
})();

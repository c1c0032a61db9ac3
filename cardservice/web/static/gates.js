// The live part of the gates page. The server renders; this only puts new parts in the place of old ones.
"use strict";
(() => {
  const board = document.getElementById("board");
  const live = document.getElementById("live");
  const text = document.getElementById("live-text");
  const time = document.getElementById("live-time");
  const button = document.getElementById("pause");
  // The service sends something at least every 5 seconds; three of them missed is a broken line.
  const SILENCE_MS = 16000;
  let source = null;
  let timer = 0;

  const say = (state, words) => {
    // Written only when it changes, so that a screen reader hears of a change and not of every message.
    if (live.dataset.state !== state) {
      live.dataset.state = state;
      text.textContent = words;
    }
  };

  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => { say("lost", "Connection lost, last seen"); start(); }, SILENCE_MS);
    say("live", "Live,");
  };

  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    const holder = document.createElement("template");
    holder.innerHTML = html;
    if (id === "board") {
      old.replaceChildren(holder.content);
      return;
    }
    const fresh = holder.content.firstElementChild;
    if (!fresh || old.outerHTML === fresh.outerHTML) return;
    const known = new Set([...old.querySelectorAll("[data-key]")].map((item) => item.dataset.key));
    for (const item of fresh.querySelectorAll("[data-key]")) {
      if (!known.has(item.dataset.key)) item.classList.add("is-new");
    }
    old.replaceWith(fresh);
  };

  const start = () => {
    stop();
    source = new EventSource("/gates/events");
    source.addEventListener("gates", (event) => {
      const news = JSON.parse(event.data);
      heard();
      time.textContent = news.time;
      for (const [id, html] of Object.entries(news.fragments)) replace(id, html);
    });
    source.onopen = heard;
    source.onerror = () => {
      say("lost", "Connection lost, last seen");
      // The browser tries again by itself unless the answer was a refusal: then only a new page can sign in.
      if (source && source.readyState === EventSource.CLOSED) timer = setTimeout(start, 5000);
    };
  };

  const stop = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };

  button.hidden = false;
  button.addEventListener("click", () => {
    const paused = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!paused));
    if (paused) { start(); } else { stop(); say("paused", "Paused at"); }
  });
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => { if (event.persisted) start(); });
  if (board && "EventSource" in window) start();
})();

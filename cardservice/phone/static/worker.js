// The service worker: keeps the page and its files, so that the card is shown with the network off.
// VERSION and FILES stand above, written by the service.
"use strict";
const CACHE = `card-${VERSION}`;
const SHELL = "/card/";

self.addEventListener("install", (event) => {
  const fresh = FILES.map((file) => new Request(file, { cache: "reload", credentials: "omit" }));
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(fresh))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") {
    const kept = () => caches.match(SHELL, { cacheName: CACHE });
    // The card is shown at once, from here. Every other page is asked for, and the card stands in where there is none.
    if (url.pathname === SHELL) event.respondWith(kept().then((found) => found ?? fetch(request)));
    else event.respondWith(fetch(request).catch(async () => (await kept()) ?? Response.error()));
  } else if (url.pathname.startsWith("/card/assets/")) {
    event.respondWith(caches.match(request, { cacheName: CACHE }).then((found) => found ?? fetch(request)));
  }
});

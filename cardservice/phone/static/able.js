// Runs before the page is shown: without what the moving code needs, the page stays the one without JavaScript.
"use strict";
(() => {
  const able =
    "noModule" in HTMLScriptElement.prototype &&
    window.isSecureContext &&
    Boolean(window.crypto && window.crypto.subtle) &&
    Boolean(window.indexedDB) &&
    "serviceWorker" in navigator;
  if (able) document.documentElement.classList.add("able");
})();

// The card page: binds a card to this phone, shows its live code, and asks the council now and then how it stands.
import { Clock, Refused, send } from "./council.js";
import { bindingBody, contactBody, makeKey } from "./device.js";
import { toBase64url, join, sha256 } from "./octets.js";
import { openStore } from "./store.js";
import { Turning } from "./turning.js";
import { showCard, showOthers, showStopped, showView, tell } from "./views.js";
import { PROBLEMS, STATES } from "./words.js";

const SHELL = "/card/";
const ASK_MS = 5 * 60 * 1000;
const ASK_AT_RETURN_MS = 60 * 1000;
// A browser may say that it is online where nothing gets through, so it is tried, not asked.
const ASK_OFFLINE_MS = 30 * 1000;
const LOOK_MS = 10 * 1000;

const app = document.getElementById("app");
let store;
let clock;
let cards = [];
let current = null;
let online = navigator.onLine;
let askedAt = 0;
let asking = null;
const turning = new Turning(() => clock.now());

/** The state as far as this phone can tell: the end of a card needs no network. */
const stateOf = (card) =>
  card.state === "active" && card.expires_at * 1000 <= clock.now() ? "expired" : card.state;

function choose() {
  cards.sort((one, other) => other.chosenAt - one.chosenAt);
  current = cards[0] ?? null;
}

/** Show the card that was chosen last, or what stands in its place. */
function render({ focus = false } = {}) {
  if (!current) {
    turning.stop();
    showView("none", { focus });
  } else if (stateOf(current) === "active" && current.cwt) {
    showView("card", { focus });
    showCard(current, cards.length > 1, clock, online);
    turning.start(current);
  } else {
    turning.stop();
    showView("stopped", { focus });
    showStopped(current, STATES[stateOf(current)] ?? STATES.unknown, clock, online);
  }
  showOthers(current ? cards.filter((card) => card !== current) : [], async (card) => {
    await keep({ ...card, chosenAt: Date.now() }, card.id);
    render({ focus: true });
    ask();
  });
  document.getElementById("removing").hidden = !current;
}

async function keep(card, former) {
  await store.keepCard(card, former);
  cards = [...cards.filter((each) => each.id !== former && each.id !== card.id), card];
  choose();
}

/** A reply of the service as it is kept, with the key it belongs to. */
const kept = (reply, keys, link, chosenAt) => ({
  ...reply,
  id: `${reply.tenant}:${reply.card_id}`,
  keys,
  link,
  chosenAt,
  seenAt: clock.now(),
});

async function askFor(card) {
  try {
    const makeBody = (at) => contactBody(card.keys, card.tenant, card.card_id, at);
    const reply = await send("/v1/phone/card", makeBody, clock);
    await keep(kept(reply, card.keys, card.link, card.chosenAt), card.id);
    online = true;
  } catch (error) {
    online = error instanceof Refused && error.status < 500;
    if (error instanceof Refused && error.code === "proof_refused") {
      await keep({ ...card, state: "unknown", cwt: null, opens: [] }, card.id);
    }
  }
}

/** Ask how every card stands; what is said of the one that is shown is told when it has changed. */
function ask() {
  asking ??= (async () => {
    askedAt = Date.now();
    const before = current && [current.id, stateOf(current), online];
    for (const card of cards) await askFor(card);
    if (clock.known) await store.keepSetting("offset", clock.offset);
    render();
    const after = current && [current.id, stateOf(current), online];
    if (before && after && before[1] !== after[1]) tell(STATES[after[1]]?.[0] ?? "Your card can be used again.");
    else if (before && after && before[2] !== after[2]) tell(online ? "Connected." : "There is no connection just now.");
    document.documentElement.dataset.asked = String(Number(document.documentElement.dataset.asked ?? 0) + 1);
  })().finally(() => {
    asking = null;
  });
  return asking;
}

async function bind(link, linkHash) {
  const button = document.getElementById("bind");
  const problem = document.getElementById("setup-problem");
  button.disabled = true;
  problem.hidden = true;
  try {
    // Kept before it is used: where the answer is lost on the way, the same key asks again and gets the same card.
    const keys = (await store.pending(linkHash)) ?? (await makeKey());
    await store.keepPending(linkHash, keys);
    const reply = await send("/v1/phone/bind", (at) => bindingBody(keys, link, at), clock);
    await keep(kept(reply, keys, linkHash, Date.now()));
    await store.keepSetting("offset", clock.offset);
    await navigator.storage?.persist?.();
    askedAt = Date.now();
    history.replaceState(null, "", SHELL); // the link is used; nobody shall find it in the address bar
    document.title = "Your card – Resident card";
    online = true;
    render({ focus: true });
    tell("The card is on this phone.");
  } catch (error) {
    if (error instanceof Refused && error.status === 403) {
      showView("gone", { focus: true });
      return;
    }
    const words = error instanceof Refused ? (error.status === 429 ? PROBLEMS.busy : error.message) : PROBLEMS.away;
    document.getElementById("setup-problem-text").textContent = words;
    problem.hidden = false;
  } finally {
    button.disabled = false;
  }
}

async function openLink() {
  const link = decodeURIComponent(location.pathname.slice("/card/l/".length));
  const linkHash = toBase64url(await sha256(join(link)));
  if (cards.some((card) => card.link === linkHash)) {
    location.replace(SHELL); // opened again, perhaps from the home screen
    return;
  }
  const pending = await store.pending(linkHash);
  if (app.dataset.link !== "good" && !pending) {
    showView("gone");
    return;
  }
  document.getElementById("bind").addEventListener("click", () => bind(link, linkHash));
  showView("setup");
}

async function showCards() {
  render();
  if (cards.length) await ask();
}

function returned() {
  if (document.visibilityState !== "visible" || !current) return;
  render();
  if (Date.now() - askedAt > ASK_AT_RETURN_MS) ask();
}

async function begin() {
  const worker = navigator.serviceWorker.register("/card/worker.js", { scope: SHELL });
  // A new release is looked for at once: by itself a browser may take a day. Without a worker the page needs a network.
  worker.then((registration) => registration.update()).catch(() => {});
  try {
    store = await openStore();
    cards = await store.cards();
    clock = new Clock(await store.setting("offset"));
  } catch {
    document.documentElement.classList.remove("able");
    const unable = document.getElementById("unable");
    unable.textContent = PROBLEMS.store;
    unable.hidden = false;
    return;
  }
  choose();
  document.querySelectorAll(".ask").forEach((button) => button.addEventListener("click", ask));
  document.getElementById("remove").addEventListener("click", async () => {
    await store.removeCard(current.id);
    cards = cards.filter((card) => card !== current);
    choose();
    render({ focus: true });
    tell("The card was removed from this phone.");
  });
  document.addEventListener("visibilitychange", returned);
  window.addEventListener("pageshow", (event) => event.persisted && returned());
  window.addEventListener("online", () => current && ask());
  window.addEventListener("offline", () => {
    online = false;
    if (current) render();
  });
  setInterval(() => {
    const due = Date.now() - askedAt > (online ? ASK_MS : ASK_OFFLINE_MS);
    if (due && current && document.visibilityState === "visible") ask();
  }, LOOK_MS);
  // Where the network is off, the page that shows cards may stand in for a link's page.
  await (location.pathname.startsWith("/card/l/") && app.dataset.link ? openLink() : showCards());
}

begin();

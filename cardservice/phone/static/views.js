// The parts of the page. Whatever comes from the service is put in as text, never as markup.
import { clockWords, openingLines, seenWords } from "./words.js";

const byId = (id) => document.getElementById(id);

/** Show one view and no other. With `focus` its heading is read out, as after a new page. */
export function showView(name, { focus = false } = {}) {
  if (name === "none") put(byId("council"), "");
  let shown = null;
  for (const view of document.querySelectorAll("[data-view]")) {
    view.hidden = view.dataset.view !== name;
    if (!view.hidden) shown = view;
  }
  if (name === "gone" || name === "setup") byId("removing").hidden = byId("others").hidden = true;
  if (focus) shown.querySelector("h1").focus();
}

/** Tell somebody who listens; nothing of it is seen. */
export function tell(words) {
  byId("news").textContent = words;
}

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
  element.hidden = !words;
}

function made(name, className, text) {
  const element = document.createElement(name);
  element.className = className;
  if (text) element.textContent = text;
  return element;
}

function paint(card) {
  put(byId("council"), card.council);
  document.documentElement.style.setProperty("--brand", card.colour);
  document.documentElement.style.setProperty("--on-brand", card.on_colour);
}

const shownOf = new WeakMap();

/** Everything about a card that can be used, but its code. */
export function showCard(card, several, clock, online) {
  paint(card);
  put(byId("holder"), several ? `${card.holder}’s card` : "Your card");
  put(document.querySelector('[data-view="card"] .seen'), seenWords(card, clock.now(), online));
  byId("ask-offline").hidden = online;
  put(byId("clock"), clock.known ? clockWords(clock.offset) : "");
  const place = byId("opens");
  const told = JSON.stringify(card.opens);
  if (shownOf.get(place) === told) return; // what somebody has opened to read stays open
  shownOf.set(place, told);
  place.replaceChildren(...card.opens.map((opening) => openingPart(opening, card.timezone)));
  if (!card.opens.length) {
    place.append(made("p", "govuk-body", "Nothing at present. Ask the council what you may use."));
  }
}

function openingPart(opening, timeZone) {
  const part = made("details", "govuk-details");
  const summary = made("summary", "govuk-details__summary");
  summary.append(made("span", "govuk-details__summary-text", opening.title));
  const body = made("div", "govuk-details__text");
  const list = made("ul", "govuk-list govuk-list--bullet");
  list.append(...openingLines(opening, timeZone).map((line) => made("li", "", line)));
  body.append(list);
  part.append(summary, body);
  return part;
}

/** What to say of a card that cannot be used. */
export function showStopped(card, [heading, advice], clock, online) {
  paint(card);
  put(byId("stopped-heading"), heading);
  put(byId("stopped-advice"), advice);
  const words = seenWords(card, clock.now(), true);
  put(document.querySelector('[data-view="stopped"] .seen'), online ? words : `${words} There is no connection just now.`);
}

/** Buttons for the other cards of this phone. */
export function showOthers(cards, choose) {
  byId("others").hidden = !cards.length;
  byId("other-cards").replaceChildren(
    ...cards.map((card) => {
      const item = made("li", "");
      const button = made(
        "button",
        "govuk-button govuk-button--secondary others__button",
        `Show ${card.holder}’s card (${card.council})`,
      );
      button.type = "button";
      button.addEventListener("click", () => choose(card));
      item.append(button);
      return item;
    }),
  );
}

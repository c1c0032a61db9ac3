// What the page says, in plain words. words.py says the same where there is no JavaScript.
export const STATES = {
  suspended: ["Your card is on hold", "It opens nothing until the hold is ended. Contact the council to find out why."],
  lost: [
    "This card was reported lost",
    "It opens nothing any more, also if it was found again. Ask the council for a new link.",
  ],
  replaced: [
    "You have a newer card",
    "This one was replaced and opens nothing any more. Use the newer card, or ask the council for a new link.",
  ],
  expired: ["Your card has ended", "Ask the council for a new one. Your visits and bookings stay as they are."],
  revoked: ["This card was withdrawn", "It opens nothing any more. Contact the council to find out why."],
  unknown: ["The council does not know this card", "It opens nothing. Ask the council for a new link."],
};

export const PROBLEMS = {
  away: "The council could not be reached. Check your connection and try again.",
  busy: "Too many people try this at once. Wait a minute and try again.",
  store: "This browser keeps no data, perhaps because it is a private window. Open the link in a normal window.",
};

const parts = (ms, timeZone, options) =>
  new Intl.DateTimeFormat("en-GB", { timeZone, ...options }).format(new Date(ms));

/** `2:05pm`, as the GOV.UK style guide writes times. */
function clockTime(ms, timeZone) {
  const [hour, minute] = parts(ms, timeZone, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
    .split(":")
    .map(Number);
  return `${hour % 12 || 12}:${String(minute).padStart(2, "0")}${hour < 12 ? "am" : "pm"}`;
}

/** `1 April 2026`. */
export function dayOf(ms, timeZone) {
  return parts(ms, timeZone, { day: "numeric", month: "long", year: "numeric" });
}

/** When the council was last heard of. */
export function seenWords(card, now, online) {
  const day = dayOf(card.seenAt, card.timezone);
  const when = day === dayOf(now, card.timezone) ? "today" : `on ${day}`;
  const text = `Last checked with ${card.council} ${when} at ${clockTime(card.seenAt, card.timezone)}.`;
  return online ? text : `${text} There is no connection just now. Your card works without it.`;
}

/** What to say of a phone whose clock is wrong; empty where it is right. */
export function clockWords(offset) {
  const seconds = Math.round(Math.abs(offset) / 1000);
  if (seconds < 5) return "";
  const [size, unit] = seconds < 120 ? [seconds, "second"] : [Math.round(seconds / 60), "minute"];
  const way = offset > 0 ? "slow" : "fast";
  return `This phone’s clock is ${size} ${unit}${size === 1 ? "" : "s"} ${way}. Your card allows for it as long as you do not change the clock without a connection. Set the clock to be right by itself.`;
}

/** Lines for a service beyond those that the council wrote. */
export function openingLines(opening, timeZone) {
  const lines = [...opening.lines];
  if (opening.starts_at !== null) lines.push(`You can use it from ${dayOf(opening.starts_at * 1000, timeZone)}.`);
  if (opening.ends_at !== null) lines.push(`You can use it until ${dayOf(opening.ends_at * 1000 - 1, timeZone)}.`);
  if (!opening.live) {
    lines.push(opening.static ? "Bring a printed card: this code is not taken here." : "Bring your plastic card: this code is not taken here.");
  }
  return lines;
}

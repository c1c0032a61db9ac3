// Asks the npm package opening_hours whether rules are open at instants. Reads a list of {rules, country, instants}
// (seconds since the epoch, ascending) from standard input, and prints for each two strings of 1 (open) and 0: by asking
// for the state at each instant, and by walking the open intervals from the first to the last. Local time is that of the
// TZ environment variable.
"use strict";
const OpeningHours = require("opening_hours");

let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (part) => { text += part; });
process.stdin.on("end", () => {
  const answers = JSON.parse(text).map(({ rules, country, instants }) => {
    const place = country ? { address: { country_code: country, state: "England" } } : null;
    const hours = new OpeningHours(rules, place);
    const states = instants.map((seconds) => (hours.getState(new Date(seconds * 1000)) ? "1" : "0")).join("");
    const last = instants[instants.length - 1];
    const open = hours
      .getOpenIntervals(new Date(instants[0] * 1000), new Date((last + 1) * 1000))
      .map(([from, until]) => [from.getTime() / 1000, until.getTime() / 1000]);
    let next = 0;
    const walked = instants.map((seconds) => {
      while (next < open.length && open[next][1] <= seconds) next += 1;
      return next < open.length && open[next][0] <= seconds ? "1" : "0";
    });
    return [states, walked.join("")];
  });
  process.stdout.write(JSON.stringify(answers));
});

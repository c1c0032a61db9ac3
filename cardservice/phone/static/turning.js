// The live code, new every 15 seconds as long as the page is seen.
import { liveText } from "./device.js";
import { Awake, drawCode, showCountdown, wipeCode } from "./screen.js";

const TURN_SECONDS = 15;

export class Turning {
  /** `now` gives the council's time in ms. */
  constructor(now) {
    this.now = now;
    this.card = null;
    this.round = 0;
    this.due = 0;
    this.timer = 0;
    this.awake = new Awake();
    this.canvas = document.getElementById("code");
    this.bar = document.getElementById("turn-bar");
    this.text = document.getElementById("turn-text");
    document.addEventListener("visibilitychange", () => this.pause());
    window.addEventListener("resize", () => this.card && this.turn());
  }

  /** Show codes of this card from now on; what is shown of it already stays until its time is over. */
  start(card) {
    const same = this.card?.cwt === card.cwt && this.timer;
    this.card = card;
    this.awake.want(true);
    if (same && performance.now() < this.due) return;
    clearInterval(this.timer);
    this.timer = setInterval(() => this.tick(), 1000);
    this.turn();
  }

  /** Show no code any more. */
  stop() {
    this.card = null;
    this.round += 1;
    clearInterval(this.timer);
    this.timer = 0;
    this.awake.want(false);
    wipeCode(this.canvas);
  }

  pause() {
    if (document.visibilityState === "visible") return;
    // A page that comes back shows a new code at once, never the one it had when it went.
    clearInterval(this.timer);
    this.timer = 0;
    this.due = 0;
  }

  tick() {
    const left = Math.ceil((this.due - performance.now()) / 1000);
    if (left <= 0) this.turn();
    else showCountdown(this.bar, this.text, left, TURN_SECONDS);
  }

  async turn() {
    const { card } = this;
    this.round += 1;
    const { round } = this;
    this.due = performance.now() + TURN_SECONDS * 1000;
    const iat = Math.floor(this.now() / 1000);
    const text = await liveText(card.keys, card.cwt, iat);
    if (round !== this.round) return; // stopped, or turned once more, meanwhile
    this.canvas.dataset.modules = String(drawCode(this.canvas, text));
    this.canvas.dataset.iat = String(iat);
    this.canvas.dataset.card = card.id;
    showCountdown(this.bar, this.text, TURN_SECONDS, TURN_SECONDS);
  }
}

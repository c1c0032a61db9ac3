// The screen: a code drawn in whole pixels, kept awake, and a quiet countdown.
import { correction, generate, mode } from "./lean-qr.js";

// Modules of white on each side (ISO/IEC 18004 section 6.3.8).
const QUIET = 4;

/** Draw a text of the alphanumeric set as QR code, error correction M, as large as the canvas is shown. */
export function drawCode(canvas, text) {
  const code = generate(mode.alphaNumeric(text), {
    minCorrectionLevel: correction.M,
    maxCorrectionLevel: correction.M,
  });
  const modules = code.size + 2 * QUIET;
  const density = window.devicePixelRatio || 1;
  canvas.style.width = "";
  const room = canvas.getBoundingClientRect().width || 360;
  const scale = Math.max(2, Math.floor((room * density) / modules));
  canvas.width = canvas.height = modules * scale;
  canvas.style.width = `${canvas.width / density}px`; // whole pixels of the screen: cameras like straight edges
  const pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#000000";
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) {
      if (code.get(x, y)) pen.fillRect((x + QUIET) * scale, (y + QUIET) * scale, scale, scale);
    }
  }
  return code.size;
}

/** White all over: no code is left to be photographed. */
export function wipeCode(canvas) {
  canvas.width = canvas.height = 1;
}

/** Keeps the screen on while it is wanted and the page is seen (Screen Wake Lock API). */
export class Awake {
  constructor() {
    this.wanted = false;
    this.lock = null;
    this.asking = false;
    document.addEventListener("visibilitychange", () => this.renew());
  }

  want(wanted) {
    this.wanted = wanted;
    return this.renew();
  }

  async renew() {
    if (!("wakeLock" in navigator)) return;
    if (!this.wanted) {
      const held = this.lock;
      this.lock = null;
      await held?.release();
      return;
    }
    // The browser takes the lock back whenever the page is hidden.
    if (this.asking || document.visibilityState !== "visible" || (this.lock && !this.lock.released)) return;
    this.asking = true;
    try {
      this.lock = await navigator.wakeLock.request("screen");
    } catch {
      this.lock = null; // low battery, or not allowed: the screen then goes dark as always
    } finally {
      this.asking = false;
    }
    if (!this.wanted) await this.renew();
  }
}

/** Seconds until the next code, as bar and words. Quick movement is spared to whoever does not want it. */
export function showCountdown(bar, text, left, whole) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const told = still ? Math.max(5, Math.ceil(left / 5) * 5) : left;
  bar.style.transform = `scaleX(${Math.max(0, (still ? told : left) / whole)})`;
  const words = still ? `New code within ${told} seconds` : `New code in ${told} ${told === 1 ? "second" : "seconds"}`;
  if (text.textContent !== words) text.textContent = words;
}

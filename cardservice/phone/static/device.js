// The phone's own key: made here, never leaves the browser, signs three kinds of message and nothing else.
import { encode } from "./base45.js";
import { bigEndian64, fromBase64url, join, sha256, toBase64url } from "./octets.js";

const CURVE = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING = { name: "ECDSA", hash: "SHA-256" };

/** A new key pair whose private half cannot be exported. */
export function makeKey() {
  return crypto.subtle.generateKey(CURVE, false, ["sign", "verify"]);
}

/** The public key as compressed point (SEC 1 section 2.3.3), 33 bytes. */
export async function compressedPoint(publicKey) {
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
  return join(Uint8Array.of(2 + (raw[64] & 1)), raw.subarray(1, 33));
}

async function sign(privateKey, message) {
  return new Uint8Array(await crypto.subtle.sign(SIGNING, privateKey, message));
}

/** The body that asks for a card by a link; `at` is now by the council's clock, in ms. */
export async function bindingBody(keys, link, at) {
  const point = await compressedPoint(keys.publicKey);
  const message = join("rescard phone bind 1\0", await sha256(join(link)), point, bigEndian64(at));
  return { link, public_key: toBase64url(point), at, signature: toBase64url(await sign(keys.privateKey, message)) };
}

/** The body that asks how a card stands. */
export async function contactBody(keys, tenant, cardId, at) {
  const message = join("rescard phone contact 1\0", tenant, "\0", fromBase64url(cardId), bigEndian64(at));
  return { tenant, card_id: cardId, at, signature: toBase64url(await sign(keys.privateKey, message)) };
}

/** The text of the live code (RC1) of a card at a second. */
export async function liveText(keys, cwt, iat) {
  const card = fromBase64url(cwt);
  const message = join("RC1-presentation\0", await sha256(card), bigEndian64(iat));
  return "RC1:" + encode(join(await sign(keys.privateKey, message), bigEndian64(iat), card));
}

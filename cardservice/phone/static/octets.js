// Bytes: base64url (RFC 4648 section 5, without padding), 64-bit big-endian numbers, hashes.

/** The bytes of a base64url text. */
export function fromBase64url(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

/** The base64url text of some bytes. */
export function toBase64url(bytes) {
  const plain = btoa(String.fromCharCode(...bytes));
  return plain.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** A whole number as 8 bytes, the most significant first. */
export function bigEndian64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

/** Several arrays of bytes, or texts in UTF-8, as one. */
export function join(...parts) {
  const arrays = parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : part));
  const whole = new Uint8Array(arrays.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of arrays) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/** SHA-256 of some bytes. */
export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

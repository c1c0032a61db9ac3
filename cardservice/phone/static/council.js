// Calls to the council's service, and its clock. A phone's clock may be wrong; the council's is the one that gates know.
const PATIENCE_MS = 10000;
// Beyond it an answer says too little about the time.
const SLOW_MS = 4000;

export class Refused extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** The clock of the council as this phone knows it: its own, put right by what the last answers said. */
export class Clock {
  constructor(offset) {
    this.offset = offset ?? 0;
    this.known = offset !== undefined;
  }

  /** Now by the council's clock, ms since the epoch. */
  now() {
    return Date.now() + this.offset;
  }

  /** Take the time of an answer that was asked for at `asked` (ms by the phone's clock). */
  learn(time, asked) {
    const got = Date.now();
    if (Number.isSafeInteger(time) && time > 0 && got >= asked && got - asked < SLOW_MS) {
      this.offset = Math.round(time - (asked + got) / 2);
      this.known = true;
    }
  }
}

async function post(path, body, clock) {
  const asked = Date.now();
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  clock.learn(Number(response.headers.get("Rescard-Time")), asked);
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.code, answer.detail);
  return answer;
}

/**
 * Send a signed body. It is signed once more where the first answer told that our time was wrong, or that another tab
 * was quicker. Rejects with Refused for an answer, with any other error where there was none.
 */
export async function send(path, makeBody, clock) {
  try {
    return await post(path, await makeBody(Math.round(clock.now())), clock);
  } catch (error) {
    if (!(error instanceof Refused) || !["proof_out_of_time", "proof_used"].includes(error.code)) throw error;
    return post(path, await makeBody(Math.round(clock.now())), clock);
  }
}

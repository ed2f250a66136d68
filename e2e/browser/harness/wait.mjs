// The one place that waits.

/** Time that anything may take on a loaded machine before a test calls it stuck. */
export const patienceMs = 30_000;

/** Asks until `probe` gives something that is neither false, null nor undefined, and returns that. Errors of `probe` pass. */
export async function until(what, probe, limitMs = patienceMs) {
  const end = performance.now() + limitMs;
  let last;
  for (;;) {
    last = await probe();
    if (last !== false && last !== null && last !== undefined) return last;
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs / 1000} s`);
    await pause(25);
  }
}

/** `promise`, or an error when it does not settle in time. */
export async function inTime(what, promise, limitMs = patienceMs) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limitMs / 1000} s`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

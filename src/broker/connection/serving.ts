/**
 * What serves connections is a quarter of the program. The broker listens before that is loaded, and
 * accepts nobody before it is: a crowd that takes every file descriptor cannot keep it from loading.
 */

export type Serving = Awaited<ReturnType<typeof loadServing>>;

export async function loadServing() {
  const [{ shakeHands }, { Session }] = await Promise.all([
    import("./handshake.ts"),
    import("./session.ts"),
  ]);
  return { shakeHands, Session };
}

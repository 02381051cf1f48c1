// What every driver needs: its task, its sound, and a way to tell what happened, one JSON object a line.
import { readFileSync } from 'node:fs';

/** The task, as the test wrote it: { base, ws, key, model, dialect, transport, sounds: { phrase: file }, frame }. */
export const task = JSON.parse(process.argv[2]);

/** Tell the test what happened. */
export function tell(step, facts) {
  process.stdout.write(JSON.stringify({ step, ...facts }) + '\n');
}

/** The frames of a phrase, 20 ms each, as Buffers. */
export function frames(phrase) {
  const sound = readFileSync(task.sounds[phrase]);
  const found = [];
  for (let at = 0; at < sound.length; at += task.frame) found.push(sound.subarray(at, at + task.frame));
  return found;
}

/** Stop at the first failure; the test shows what stands in stderr. */
export function fail(error) {
  console.error(error);
  process.exit(1);
}

process.on('unhandledRejection', fail);

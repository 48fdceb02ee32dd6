/** Below this nothing new should be written. */
const LEAST_BYTES = 256 * 1_024 ** 2;
/** A disk with less is worth a look, however large it is. */
const LOW_BYTES = 1_024 ** 3;
const LOW_SHARE = 0.05;

/** FULL: writes fail soon, or do already. LOW: somebody should look. */
export function diskVerdict(freeBytes: number, totalBytes: number): 'ENOUGH' | 'LOW' | 'FULL' {
  if (freeBytes < LEAST_BYTES) return 'FULL';
  return freeBytes < LOW_BYTES || freeBytes < totalBytes * LOW_SHARE ? 'LOW' : 'ENOUGH';
}

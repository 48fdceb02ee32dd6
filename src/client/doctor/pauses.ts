import type { Pause } from '../pauses.js';
import { type Finding, ok, warn } from './finding.js';

export function examinePauses(pauses: readonly Pause[]): Finding[] {
  if (pauses.length === 0) return [ok('pauses', 'nothing is paused')];
  return pauses.map(({ operationId, actor, reason, since }) => {
    const what = operationId ?? 'everything';
    return warn(
      'pauses',
      `${what} is paused by ${actor} since ${since}: ${reason}`,
      `steward operation resume ${operationId ?? '--all'}`,
    );
  });
}

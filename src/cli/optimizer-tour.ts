import { setTimeout as sleep } from 'node:timers/promises';
import type { StewardClient } from '../client/index.js';
import { optimizerGroupText } from './optimizer-group-text.js';

/** The group that the tour's optimizers and table belong to. */
export const TOUR_GROUP = 'default';
const OPTIMIZERS = 2;
const THREADS = 1;
const LIVE_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 200;

/** The part of the tour that starts a group with two optimizers, and shows it; one that is there already is only shown. */
export async function optimizerTour(client: StewardClient, say: (line: string) => void): Promise<string> {
  const known = (await client.optimizerGroups.list()).some(({ name }) => name === TOUR_GROUP);
  if (!known) {
    say(`starting optimizer group ${TOUR_GROUP} with ${OPTIMIZERS} optimizers`);
    await client.optimizerGroups.create({
      name: TOUR_GROUP,
      settings: { autoRestart: true, threadsPerOptimizer: THREADS, minParallelism: OPTIMIZERS * THREADS },
    });
  }
  const deadline = performance.now() + LIVE_WITHIN_MS;
  for (;;) {
    const group = await client.optimizerGroups.get(TOUR_GROUP);
    const complete = group.liveThreads >= group.settings.minParallelism;
    // Those that come later are its keeper's business.
    if (complete || performance.now() > deadline) return optimizerGroupText(group);
    await sleep(LOOK_EVERY_MS);
  }
}

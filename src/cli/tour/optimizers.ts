import type { OptimizerGroupDescription, StewardClient } from '../../client/index.js';
import { counted } from '../../rules/counted.js';
import { formatDuration } from '../duration.js';
import { type Part, type Tour, until } from './part.js';

/** The group that the tour's optimizers and tables belong to. */
export const TOUR_GROUP = 'default';
const OPTIMIZERS = 2;
const THREADS = 1;
const LIVE_WITHIN_MS = 30_000;
const RESTARTED_WITHIN_MS = 60_000;
/** Shorter than the defaults, so that a restart is seen within seconds. */
const QUICK = { gracePeriodMs: 5_000, heartbeatTimeoutMs: 5_000 };
const INTERVAL_MS = 5_000;

/** Starts a group with two optimizers, unless it is there already. Those that come late are its keeper's business. */
export async function startOptimizers({ client, say }: Tour): Promise<void> {
  const known = (await client.optimizerGroups.list()).some(({ name }) => name === TOUR_GROUP);
  if (!known) {
    say(`starting optimizer group ${TOUR_GROUP} with ${OPTIMIZERS} optimizers`);
    await client.optimizerGroups.create({
      name: TOUR_GROUP,
      intervalMs: INTERVAL_MS,
      settings: {
        ...QUICK,
        autoRestart: true,
        threadsPerOptimizer: THREADS,
        minParallelism: OPTIMIZERS * THREADS,
      },
    });
  }
  await until(
    'the optimizers live',
    async () => {
      const { liveThreads, settings } = await group(client);
      return liveThreads >= settings.minParallelism;
    },
    LIVE_WITHIN_MS,
  ).catch(() => {});
}

/**
 * Kills the process of an optimizer; its keeper starts it again in its place.
 *
 * @param breaks false: only shows what is there
 */
export async function optimizerTour(tour: Tour, breaks: boolean): Promise<Part> {
  const happened = breaks ? [await killOne(tour)] : [];
  const { liveOptimizers, liveThreads, keeper } = await group(tour.client);
  return {
    title: 'OPTIMIZERS',
    happened,
    state: `now ${counted(liveOptimizers, 'optimizer')} with ${counted(liveThreads, 'thread')}; their keeper is ${keeper.state}`,
    look: [`steward optimizer-group show ${TOUR_GROUP}`],
  };
}

async function killOne({ client, say }: Tour): Promise<string> {
  const before = (await group(client)).resources.find(({ optimizer }) => optimizer?.alive);
  const pid = Number.parseInt(before?.processId ?? '', 10);
  if (before === undefined || !Number.isInteger(pid))
    return 'no optimizer lives yet; see below what its keeper says';
  const { resourceId, launch } = before;
  say(`killing the process of optimizer ${resourceId}`);
  process.kill(pid, 'SIGKILL');
  const killed = performance.now();
  const after = await until(
    `${resourceId} is restarted: see steward optimizer-group show ${TOUR_GROUP}`,
    async () =>
      (await group(client)).resources.find(
        (one) => one.resourceId === resourceId && one.registeredLaunch > launch && one.optimizer?.alive,
      ),
    RESTARTED_WITHIN_MS,
  );
  const took = formatDuration(performance.now() - killed);
  return `killed the process (pid ${pid}) of ${resourceId} on ${before.nodeId}: its keeper restarted it as launch ${after.launch} on ${after.nodeId}, ${took} later`;
}

function group(client: StewardClient): Promise<OptimizerGroupDescription> {
  return client.optimizerGroups.get(TOUR_GROUP);
}

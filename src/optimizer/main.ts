import { setTimeout as pause } from 'node:timers/promises';
import { readCommandLine } from '../command-line.js';
import { runProcess } from '../process.js';
import { Credentials } from '../rpc/credentials.js';
import { flushTraces } from '../tracing/tracing.js';
import { type End, Optimizer } from './optimizer.js';
import { readOptions, USAGE } from './options.js';
import { Place, PlaceRefused } from './place.js';

/** What the node, and people, see of why it ended. */
const EXIT_CODES = {
  STOPPED: 0,
  LEFT_ALONE: 0,
  TOLD_TO_END: 3,
  NOT_WANTED: 4,
} as const satisfies Record<End, number>;
/** All that matters is on disk: what cannot stop in time is settled by the next process. */
const STOP_LIMIT_MS = 2800;

const options = readCommandLine(readOptions, USAGE);
await runProcess(`optimizer ${options.resourceId}`, async (log, stopping) => {
  const credentials = new Credentials(options.transport, log);
  await Promise.race([pause(options.disturbance.startDelayMs), stopping]);
  const place = new Place(options.directory);
  const self = await place.occupy(options.launch, options.coordinator).catch((error: unknown) => {
    const gone = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (!(error instanceof PlaceRefused) && !gone) throw error;
    log.warn({ reason: (error as Error).message }, 'not started');
    process.exit(EXIT_CODES.NOT_WANTED);
  });
  const optimizer = await Optimizer.start(options, place, self, credentials, log);
  void stopping.then(() => {
    log.info('stopping');
    setTimeout(() => process.exit(EXIT_CODES.STOPPED), STOP_LIMIT_MS).unref();
    optimizer.stop();
  });
  const ended = optimizer.ended.then(async (end) => {
    log.info({ end }, 'ended');
    await flushTraces();
    process.exit(EXIT_CODES[end]);
  });
  return { ready: { resource: options.resourceId, launch: options.launch, pid: process.pid }, ended };
});

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../log.js';
import { type Coordinator, Refused } from './coordinator.js';
import { settled, type TaskGroupRecord } from './record.js';
import type { TaskGroupRecords } from './records.js';
import { discardStaging, PartLost, publishParts } from './staging.js';

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 60_000;

/**
 * Finds out what became of the checkpoint of a task group that ended before it knew: asked again, the coordinator
 * answers as it did the first time. Committed: its parts are published. Stale: nobody will ever go on from it, and what
 * was staged is thrown away.
 */
export async function settleCheckpoint(
  record: TaskGroupRecord,
  deps: { readonly coordinator: Coordinator; readonly records: TaskGroupRecords; readonly log: Logger },
  signal: AbortSignal,
): Promise<void> {
  const { coordinator, records, log } = deps;
  const { location, execution, directory, unsettled } = record;
  if (unsettled === undefined) return;
  const { checkpointId, parts } = unsettled.checkpoint;
  for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
    signal.throwIfAborted();
    try {
      const committed = await isCommitted();
      if (committed) await publishParts(directory, parts);
      await discardStaging(directory, location, execution);
      records.change(record, (known) => ({
        ...settled(known),
        checkpointId: committed ? Math.max(known.checkpointId, checkpointId) : known.checkpointId,
      }));
      log.info({ checkpointId, committed, parts: parts.length }, 'settled the checkpoint that was under way');
      return;
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error, checkpointId }, 'cannot settle the checkpoint that was under way');
      if (error instanceof PartLost) {
        records.change(record, settled);
        return;
      }
    }
    await sleep(retryMs, undefined, { signal }).catch(() => undefined);
  }

  async function isCommitted(): Promise<boolean> {
    try {
      return (await coordinator.commit(record, unsettled!, signal, log)) === 'recorded';
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      log.error({ err: error, checkpointId }, 'the checkpoint that was under way was refused');
      return false;
    }
  }
}

import { identityOf, isAlive, type ProcessIdentity } from '../process-identity.js';
import type { Ledger } from './ledger.js';

/** What a data directory was made for. */
export interface Purpose {
  readonly nodeId: string;
  readonly regions: 'disk' | 'ledger';
}

/** The data directory cannot be used by this process; the message says what to do. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
}

/**
 * Makes this process the only one on its data directory. The owner is written into the ledger inside an LMDB write
 * transaction, whose lock the kernel releases with its process: two that start at once cannot both win, and an owner that
 * was killed is known by its pid and start time. Holds for processes of one host that see each other's pids.
 */
export function claimDataDirectory(ledger: Ledger, path: string, purpose: Purpose): void {
  const self = identityOf(process.pid);
  if (self === undefined)
    throw new DataDirectoryError('cannot tell when this process started: is /proc there?');
  ledger.root.transactionSync(() => {
    const owner = ledger.facts.get('owner') as ProcessIdentity | undefined;
    if (owner !== undefined && owner.pid !== process.pid && isAlive(owner)) {
      throw new DataDirectoryError(
        `${path} is in use by process ${owner.pid}: stop that node first, or give this one another --data`,
      );
    }
    const made = ledger.facts.get('purpose') as Purpose | undefined;
    if (made !== undefined && (made.nodeId !== purpose.nodeId || made.regions !== purpose.regions)) {
      throw new DataDirectoryError(
        `${path} belongs to a node with --id ${made.nodeId} --regions ${made.regions}: ` +
          `start it with these, or give --id ${purpose.nodeId} --regions ${purpose.regions} another --data`,
      );
    }
    ledger.facts.putSync('owner', self);
    ledger.facts.putSync('purpose', purpose);
  });
}

/** Lets go of the data directory at an orderly end. */
export function releaseDataDirectory(ledger: Ledger): void {
  ledger.root.transactionSync(() => {
    ledger.facts.removeSync('owner');
  });
}

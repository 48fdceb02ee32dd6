import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';

type Room = 'facts' | 'operations' | 'epochs' | 'pending';

/** Makes a node forget, before it is started again: changes the ledger in its data directory. */
export function spoilLedger(change: (room: (name: Room) => Database) => void): (data: string) => void {
  return (data) => {
    const path = join(data, 'ledger');
    if (!existsSync(path)) return;
    const root = open({ path, noSubdir: false, overlappingSync: false, maxDbs: 8 });
    root.transactionSync(() => change((name) => root.openDB({ name })));
    void root.close();
  };
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineNode } from '../src/engines/nodes.js';
import type { RegionEngine } from '../src/engines/regions.js';
import { formatOperationId, regionPath } from '../src/rules/operation-id.js';

export type BareActivities = ReturnType<typeof createBareActivities>;

/** One activity for one replica: submits its operation, and asks until it is over. */
export function createBareActivities(
  engine: RegionEngine,
  catalogId: string,
  nodes: ReadonlyMap<string, EngineNode>,
) {
  return {
    async changeReplica(
      verb: 'create' | 'delete',
      { groupId, nodeId }: { readonly groupId: number; readonly nodeId: string },
    ): Promise<void> {
      const region = { catalogId, groupId };
      const epoch = verb === 'create' ? 1 : 2;
      const operationId = formatOperationId({
        verb: verb === 'create' ? 'create-region' : 'delete-region',
        path: regionPath(region),
        nodeId,
        epoch,
        attempt: 1,
      });
      const change =
        verb === 'create'
          ? {
              verb: 'create-region' as const,
              database: 'bare',
              kind: 'DATA' as const,
              peers: [...nodes.keys()],
            }
          : { verb: 'delete-region' as const };
      for (;;) {
        const [status] = await engine.submit(nodes.get(nodeId)!, [{ operationId, epoch, region, change }]);
        if (status?.state === 'SUCCESS') return;
        if (status?.state !== 'PROCESSING') throw new Error(`${operationId}: ${JSON.stringify(status)}`);
        await sleep(5);
      }
    },
  };
}

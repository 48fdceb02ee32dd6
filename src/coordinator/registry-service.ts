import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import { limitsOf } from '../catalog/limits.js';
import { recordHeartbeat, registerNode } from '../catalog/nodes.js';
import type { Logger } from '../log.js';
import type { Settings } from '../model/settings.js';
import type { NodeRegistryService } from '../rpc/gen/steward/coordinator/v1/registry_pb.js';
import { MAX_NODE_TASK_GROUPS, NODE_NAME } from '../rules/bounds.js';
import { validated } from './validation.js';

const registration = z.object({
  nodeId: z.string().regex(NODE_NAME),
  ledgerId: z.uuid(),
  bootId: z.uuid(),
  address: z.url({ protocol: /^https?$/ }),
  capabilities: z.array(z.string().min(1).max(64)).max(32),
  maxTaskGroups: z.int().min(1).max(MAX_NODE_TASK_GROUPS).optional(),
});

/** Nodes report here. Stateless: everything is a row of the catalog. */
export function nodeRegistryService(
  catalog: Catalog,
  settings: Settings,
  log: Logger,
): ServiceImpl<typeof NodeRegistryService> {
  return {
    async register(request) {
      const node = validated(registration, request);
      const verdict = await registerNode(catalog, node, settings.nodeTimeoutMs);
      if (verdict.kind === 'OTHER_LEDGER') {
        log.warn({ node: node.nodeId, ledgerId: node.ledgerId, ...verdict }, 'node refused: another ledger');
        throw new ConnectError(
          `${node.nodeId} is known with ledger ${verdict.expectedLedgerId} and has ${verdict.replicas} replicas in the ` +
            `catalog; this one has ledger ${node.ledgerId} (an empty disk, or another machine). Bring the old disk back, ` +
            `or let go of the replicas with: steward region-group forget-replica <id> --node ${node.nodeId}`,
          Code.FailedPrecondition,
        );
      }
      log.info(
        { node: node.nodeId, incarnation: verdict.incarnation, address: node.address },
        'node registered',
      );
      return {
        incarnation: BigInt(verdict.incarnation),
        heartbeatInterval: durationFromMs(settings.heartbeatIntervalMs),
        limits: await limitsOf(catalog, node.nodeId),
      };
    },

    async heartbeat({ nodeId, ledgerId, incarnation }) {
      const heartbeat = { nodeId, ledgerId, incarnation: Number(incarnation) };
      if (!z.uuid().safeParse(ledgerId).success)
        throw new ConnectError('ledger_id: not a UUID', Code.InvalidArgument);
      if (await recordHeartbeat(catalog, heartbeat, settings.nodeTimeoutMs))
        return { limits: await limitsOf(catalog, nodeId) };
      throw new ConnectError(`${nodeId} must register (again)`, Code.NotFound);
    },
  };
}
